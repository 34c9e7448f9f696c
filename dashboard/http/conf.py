"""gunicorn's settings for the console (https://gunicorn.org/reference/settings/).

``dashboard serve`` and ``gunicorn.conf.py`` read them. Outside of a checkout, start gunicorn with
``gunicorn -c python:dashboard.http.conf wsgi:app``. Options of gunicorn's command line override
them. ``dashboard serve`` adds to them: the address and numbers of its own options, the embedded
worker, and a SIGHUP that keeps the running application if the new settings are invalid.
"""

import gc
import logging
import sys
from typing import Any

from gunicorn.glogging import Logger

from dashboard.http.limits import HEAD_BYTES


class SharedLogger(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Writes gunicorn's messages to the console's log, once that is configured."""

    def setup(self, cfg: Any) -> None:
        """Remove gunicorn's own handler if the root logger has one."""
        super().setup(cfg)
        if logging.getLogger().handlers:
            self.error_log.handlers = []
            self.error_log.propagate = True


worker_class = "dashboard.http.worker.Worker"
threads = 16
# Open connections of one process, most of them idle. Well below 1,024, the usual limit of open
# files.
worker_connections = 500
# Seconds that a connection may stay open between two requests.
keepalive = 30
# Seconds that running requests have to finish at SIGTERM: three times the slowest API response.
graceful_timeout = 30
control_socket_disable = True
logger_class = SharedLogger
loglevel = "warning"
# The worker limits request line and headers together, so that no part needs a limit of its own.
limit_request_line = 0
limit_request_field_size = HEAD_BYTES
limit_request_fields = 1000
# By default, gunicorn lets clients on loopback, and so all clients of a proxy there, set
# SCRIPT_NAME, PATH_INFO and the scheme by headers.
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
header_map = "drop"


def on_starting(server: Any) -> None:
    """Prepare the arbiter for SIGUSR2, and exclude loaded modules from garbage collection.

    SIGUSR2 must start the same command again, such as `python -m dashboard`; gunicorn would start
    the path of the module's file. Scanning loaded modules for garbage takes a quarter of the time
    of a page with two thousand cells.
    """
    server.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Register the process as a user of the database."""
    worker.wsgi.extensions["presence"].begin()


def worker_exit(_server: Any, worker: Any) -> None:
    """Remove the registration.

    gunicorn calls this in its arbiter as well, for a worker that has no application there.
    """
    if (app := getattr(worker, "wsgi", None)) is not None:
        app.extensions["presence"].end()
