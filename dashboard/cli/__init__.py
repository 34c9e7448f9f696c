"""The ``dashboard`` command.

``main``                the group of commands
``common``              helpers of all commands
``serve``               ``serve`` and ``worker``
``gunicorn_server``     gunicorn with a given application
``demo``                ``demo`` and ``sandbox``, if ``dashboard.sandbox`` is installed
``store_checks``        whether database, data folder and Redis can be used
``users``               ``users``
``identity_providers``  ``users hand-over`` and ``users move-issuer``
``refresh``, ``db``, ``check``, ``backup`` (with ``restore``), ``report``, ``pull``
"""

import gc
import signal
import threading

# While modules load, SIGINT ends the process without a traceback; commands handle it themselves.
_ends_quietly = threading.current_thread() is threading.main_thread() and (
    signal.getsignal(signal.SIGINT) is signal.default_int_handler
)
if _ends_quietly:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
# Loading creates no garbage. Looking for it meanwhile takes a fifth of the start time, and the
# first time afterwards a tenth.
gc.disable()
from dashboard.cli.main import main  # noqa: E402

gc.freeze()
gc.enable()
if _ends_quietly:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["main"]
