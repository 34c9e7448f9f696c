"""The console's commands with deadlines of about one second for clients.

``python -m tests.security.short_deadlines COMMAND …``: ``COMMAND`` is ``dashboard`` or
``gunicorn``, with its own arguments after it.
"""

import sys

from dashboard.http import connection
from dashboard.http.connection import Phase

QUICK = {Phase.NEW: 1.0, Phase.HEAD: 1.0, Phase.BODY: 1.0, Phase.WRITING: 1.0, Phase.LINGERING: 1.0}

if __name__ == "__main__":
    connection.SECONDS.update(QUICK)
    del sys.argv[0]
    if sys.argv[0] == "gunicorn":
        from gunicorn.app.wsgiapp import run

        run()
    else:
        from dashboard.cli import main

        main()
