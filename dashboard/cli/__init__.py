"""The ``dashboard`` command.

``main``     the group, and what every command shares
``serving``  ``serve``, ``worker``
``trying``   ``demo``, ``sandbox``: where ``dashboard.sandbox`` is installed
``upkeep``   ``refresh``, ``users``, ``db``
``checking``  ``check``; ``keeping`` ``backup`` and ``restore``
``server``   gunicorn, as the console uses it
``reporting``  ``report``
"""

import gc
import signal
import threading

# While it loads, SIGINT ends the process without a traceback; each command has its own answer to it.
_ends_quietly = threading.current_thread() is threading.main_thread() and (
    signal.getsignal(signal.SIGINT) is signal.default_int_handler
)
if _ends_quietly:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
# What is loaded stays: to look for garbage among it meanwhile is a fifth of every start.
gc.disable()
from dashboard.cli.main import main  # noqa: E402

gc.enable()
if _ends_quietly:
    signal.signal(signal.SIGINT, signal.default_int_handler)

__all__ = ["main"]
