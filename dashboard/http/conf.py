"""gunicorn's settings for the console, read by ``dashboard serve`` and by ``gunicorn.conf.py`` (https://gunicorn.org/reference/settings/).

Where ``gunicorn wsgi:app`` is not started in a checkout: ``gunicorn -c python:dashboard.http.conf wsgi:app``.
"""

from typing import Any

from dashboard.http.arriving import HEAD_BYTES

worker_class = "dashboard.http.worker.Worker"
threads = 16
# Open connections of one process, most of them idle. Well below 1,024, the usual limit of open files.
worker_connections = 500
# Seconds that a connection may stay open between two requests.
keepalive = 30
# Seconds that requests under way have to end at SIGTERM: three times the slowest answer of the API.
graceful_timeout = 30
control_socket_disable = True
# The worker bounds the head as a whole (line and headers); within it, no part has a bound of its own.
limit_request_line = 0
limit_request_field_size = HEAD_BYTES
limit_request_fields = 1000
# gunicorn lets clients on loopback (so every client of a proxy there) set SCRIPT_NAME, PATH_INFO and the scheme by headers.
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
header_map = "drop"


def post_worker_init(worker: Any) -> None:
    """Have the store know that this process uses it."""
    worker.wsgi.extensions["presence"].begin()


def worker_exit(_server: Any, worker: Any) -> None:
    """Have it know that it does no more. gunicorn calls this in its arbiter, too, for a worker whose application is not there."""
    if (app := getattr(worker, "wsgi", None)) is not None:
        app.extensions["presence"].end()
