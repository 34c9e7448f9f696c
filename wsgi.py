"""The console as a WSGI application, with the settings of the environment.

``gunicorn wsgi:app`` and ``flask --app wsgi run`` serve it. Missing or wrong settings, and a database that is away or has an
older schema, end the process with one message. No worker is embedded: run ``dashboard worker`` beside it.
"""

import logging
import sys

from dashboard.cli.common import configure_logging, make_current_app

# gunicorn stops on this exit code of a process (Arbiter.WORKER_BOOT_ERROR); on any other it would start the process again.
BOOT_ERROR = 3

try:
    app = make_current_app(pages=True)
    configure_logging(app)
except SystemExit:
    # The message is on stderr already.
    raise SystemExit(BOOT_ERROR) from None
# gunicorn.conf.py is read from the working directory alone, and imports this.
if "gunicorn.arbiter" in sys.modules and "dashboard.http.conf" not in sys.modules:
    logging.getLogger("dashboard").warning(
        "gunicorn runs without the console's settings for it, so that a few slow clients can keep everybody waiting."
        " Start it with: gunicorn -c python:dashboard.http.conf wsgi:app"
    )
