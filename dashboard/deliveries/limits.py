"""Limits of deliveries to the data hook: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# A delivery waits this long for a completed run; `jobs.NO_RUN` says it to users.
WAIT_FOR_RUN: Final = timedelta(hours=24)
# Waits after the first failed attempt, the second, and so on. After the sixth, the delivery is
# dead until a user sends it again.
RETRY_WAITS: Final = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
)
# Seconds to connect, and to wait for each byte of a response.
HOOK_TIMEOUT: Final = (5.0, 30.0)
