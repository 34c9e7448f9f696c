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

# What is loaded stays: to look for garbage among it meanwhile is a fifth of every start.
gc.disable()
from dashboard.cli.main import main  # noqa: E402

gc.enable()

__all__ = ["main"]
