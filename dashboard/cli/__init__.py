"""The ``dashboard`` command.

``main``     the group, and what every command shares
``serving``  ``demo``, ``sandbox``, ``serve``, ``worker``
``upkeep``   ``refresh``, ``users``, ``db``
``checking``  ``check``; ``keeping`` ``backup`` and ``restore``
``server``   gunicorn, as the console uses it
``reporting``  ``report``
"""

from dashboard.cli.main import main

__all__ = ["main"]
