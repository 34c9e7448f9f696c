"""Limits of calls to Peliqan: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from datetime import timedelta
from typing import Final

# Seconds to connect.
CONNECT_TIMEOUT: Final = 5.0
# Bytes of a response.
LARGEST_BODY: Final = 16 * 1024 * 1024
# Seconds. If Peliqan asks for a longer wait, the caller gets it as `retry_after` instead.
LONGEST_RETRY_WAIT: Final = 20.0
# Attempts in a row without an answer that suspect an outage.
FAILURES_OF_OUTAGE: Final = 5
# Wait before the first probe of an outage; it doubles with each probe.
FIRST_PROBE_AFTER: Final = timedelta(seconds=5)
# The longest wait between two probes.
LONGEST_PROBE_WAIT: Final = timedelta(seconds=60)
