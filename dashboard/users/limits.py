"""Limits of users, passwords, sessions and requests: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# A session ends this long after its last use.
IDLE_TIMEOUT: Final = timedelta(hours=1)
# A session ends this long after its start.
LONGEST_SESSION: Final = timedelta(hours=12)
# A user without a password proves their identity by a sign-in at the provider of at most this age.
RECENT_SIGN_IN: Final = timedelta(minutes=10)
# The code must arrive within this time after the password.
CODE_WITHIN: Final = timedelta(minutes=5)
# Recovery codes of a user.
RECOVERY_CODES: Final = 8
# Characters of a password.
SHORTEST_PASSWORD: Final = 12
# Characters of a password.
LONGEST_PASSWORD: Final = 1000
# Characters that a password has beside words that are guessed first.
MIN_REMAINDER: Final = 8
# zxcvbn's highest score, on a scale from 0: ten thousand million guesses or more.
MIN_SCORE: Final = 4
# A provider does not report users who left, so their tokens pause after so long without sign-in.
TOKEN_PAUSES_AFTER: Final = timedelta(days=30)
# Characters of an e-mail address (RFC 5321, and the limit of email-validator).
LONGEST_ADDRESS: Final = 254
# Access rules of a user.
MOST_RULES: Final = 500
# Characters of an access rule.
LONGEST_RULE: Final = 255
# Successful sign-ins of one user.
SIGN_INS_OF_A_USER: Final = "100 per hour"
# Attempts to sign in, with a password or a code, from one client address.
ATTEMPTS_OF_AN_ADDRESS: Final = "10 per minute; 100 per hour"
# Attempts to sign in to one account, with a password or a code.
ATTEMPTS_AT_AN_ACCOUNT: Final = "10 per minute; 50 per hour"
# Sign-ins at an identity provider from one client address.
PROVIDER_SIGN_INS: Final = "30 per minute"
# Changes of a password by one user.
PASSWORD_CHANGES: Final = "5 per minute; 20 per hour"
# Changes of the second factor or of open sessions by one user, which ask for the password.
IDENTITY_CHECKS: Final = "10 per minute; 50 per hour"
# Files, rows and changes that one user may request.
FILES_OF_A_USER: Final = "60 per minute; 600 per hour"
READS_OF_A_USER: Final = "1200 per minute; 30000 per hour"
CHANGES_OF_A_USER: Final = "300 per minute; 3000 per hour"
# Personal access tokens of a user.
MOST_TOKENS: Final = 20
# Seconds to wait for an identity provider.
PROVIDER_TIMEOUT: Final = 8
