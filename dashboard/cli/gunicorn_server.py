"""gunicorn with the settings of ``dashboard.http.conf``: an end that waits for what is under way, a restart without a gap.

SIGTERM     no new request is taken, those under way are answered for up to ``PATIENCE`` seconds
SIGHUP      settings, playbook and masks are read anew; with a mistake in them everything stays as it is
SIGUSR2     a second server of the version that is installed now begins on the same socket; end the first with SIGTERM then
A socket of systemd's is taken over (LISTEN_FDS), so that connections wait in it while the service restarts.
https://gunicorn.org/signals/
"""

import gc
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from dashboard.http import conf

log = logging.getLogger(__name__)
PATIENCE = conf.graceful_timeout
# Set where the listening socket comes from outside: from systemd, or from the server before this one.
HANDED_ON = ("LISTEN_FDS", "GUNICORN_FD")


def has_socket() -> bool:
    """Whether this process was given a socket that listens already."""
    return any(os.environ.get(name) for name in HANDED_ON)


def serve_app(
    app: Flask,
    host: str,
    port: int,
    *,
    workers: int = 1,
    threads: int = 16,
    anew: Callable[[], Flask | None] = lambda: None,
    **hooks: Any,
) -> None:
    """An app under gunicorn, in threads. ``anew``: the app as the settings are now, at SIGHUP; None where it stays the same.
    ``hooks``: gunicorn's server hooks."""
    options = {
        "bind": f"{host}:{port}",
        "workers": workers,
        "threads": threads,
        "loglevel": "warning",
        "logger_class": _Lines,
        "on_starting": _begin_again_as_begun,
        **hooks,
    }
    # What was loaded stays: to look through all of it for garbage again and again is a quarter of a page of two thousand cells.
    gc.freeze()
    _Server(app, anew, options).run()


def _begin_again_as_begun(server: Arbiter) -> None:
    """At SIGUSR2, `python -m dashboard` again and not the path of a file in it."""
    server.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]


class _Lines(Logger):  # type: ignore[misc]  # gunicorn has no types
    """What gunicorn has to say goes where everything goes."""

    def setup(self, cfg: Any) -> None:
        """Without a handler of its own, where lines of JSON are told."""
        super().setup(cfg)
        if logging.getLogger().handlers:
            self.error_log.handlers = []
            self.error_log.propagate = True


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(
        self, app: Flask, anew: Callable[[], Flask | None], options: dict[str, Any]
    ) -> None:
        self.app, self.anew, self.options = app, anew, options
        super().__init__()

    def load_config(self) -> None:
        for name, value in {**vars(conf), **self.options}.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        return self.app

    def reload(self) -> None:
        found = self.anew()
        if found is not None:
            self.app, self.callable = found, None
        super().reload()
