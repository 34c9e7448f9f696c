"""Limits of clients' connections and requests: sizes, counts and times.

Those that an operator sets are in `settings.py`.
"""

from typing import Final

# Request line and headers together, in bytes. Browsers store up to 180 cookies of 4 kB for a
# domain, from all applications on it.
HEAD_BYTES: Final = 64 * 1024
# Bytes of a body: MAX_CONTENT_LENGTH of app.py plus the framing of chunks; the application refuses
# larger bodies.
BODY_BYTES: Final = 1024 * 1024 + 64 * 1024
# A response continues while the client accepts so many bytes in each `WRITING_SECONDS`.
RATE_BYTES: Final = 64 * 1024
# Seconds for request line and headers, then for the body, from the phase's first byte.
HEAD_SECONDS: Final = 10
BODY_SECONDS: Final = 60
# Seconds in which a client accepts `RATE_BYTES` of a response, then again as many.
WRITING_SECONDS: Final = 60
# Seconds in which a closed connection may still send bytes, which are dropped.
CLOSING_SECONDS: Final = 2
