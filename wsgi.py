"""The console as a WSGI application, with the settings of the environment.

For ``gunicorn wsgi:app`` and ``flask --app wsgi run``. The process ends with one message if
settings are missing or wrong, the database does not answer, or its schema is older. It contains no
worker: run ``dashboard worker`` as well.
"""

import logging
import sys

from dashboard.cli.common import configure_logging, make_current_app

# gunicorn stops on this exit code (Arbiter.WORKER_BOOT_ERROR); on others it restarts the process.
BOOT_ERROR = 3

try:
    app = make_current_app(pages=True)
    configure_logging(app)
except SystemExit:
    # The message has been written to stderr.
    raise SystemExit(BOOT_ERROR) from None
# gunicorn reads gunicorn.conf.py, which imports this module, only in the working directory.
if "gunicorn.arbiter" in sys.modules and "dashboard.http.conf" not in sys.modules:
    logging.getLogger("dashboard").warning(
        "gunicorn runs without the console's settings for it, so that a few slow clients can keep"
        " everybody waiting."
        " Start it with: gunicorn -c python:dashboard.http.conf wsgi:app"
    )
