"""The ``dashboard`` command.

``main``     the group, and what every command shares
``serving``  ``serve``, ``worker``
``trying``   ``demo``, ``sandbox``: where ``dashboard.sandbox`` is installed
``upkeep``   ``refresh``, ``users``, ``db``
``checking``  ``check``; ``keeping`` ``backup`` and ``restore``
``server``   gunicorn, as the console uses it
``reporting``  ``report``
"""

from dashboard.cli.main import main

__all__ = ["main"]
