"""The console as a WSGI application, with the settings of the environment.

``gunicorn wsgi:app`` and ``flask --app wsgi run`` serve it. Missing or wrong settings, a database that is away or has an older
schema, and gunicorn without the console's settings for it end the process with one message. No worker is embedded: run
``dashboard worker`` beside it.
"""

import sys

from dashboard.cli.shared import begin_telling, make_current_app

# gunicorn stops on this exit code of a process (Arbiter.WORKER_BOOT_ERROR); on any other it would start the process again.
BOOT_ERROR = 3

# gunicorn.conf.py is read from the working directory alone, and imports this.
if "gunicorn.arbiter" in sys.modules and "dashboard.http.conf" not in sys.modules:
    sys.stderr.write(
        "gunicorn was started without the console's settings for it: slow clients could stop it, and headers of any client change"
        " what an address means. Start it with: gunicorn -c python:dashboard.http.conf wsgi:app\n"
    )
    raise SystemExit(BOOT_ERROR)
try:
    app = make_current_app(pages=True)
    begin_telling(app)
except SystemExit:
    # The message is on stderr already.
    raise SystemExit(BOOT_ERROR) from None
