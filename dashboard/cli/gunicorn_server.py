"""gunicorn for ``dashboard serve``, with the settings of ``dashboard.http.conf``.

SIGTERM     accept no new request, and finish running ones within ``graceful_timeout`` seconds
SIGHUP      read settings, playbook and masks again; if one is invalid, everything stays as it is
SIGUSR2     start a second server of the now installed version on the same socket; then end the
            first with SIGTERM
A socket of systemd's (LISTEN_FDS) is used, so that connections wait in it during a restart.
https://gunicorn.org/signals/
"""

import os
from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from dashboard.http import conf

# Set if the listening socket comes from systemd, or from the server before this one.
SOCKET_VARIABLES = ("LISTEN_FDS", "GUNICORN_FD")


def has_socket() -> bool:
    """Return whether this process was given a listening socket."""
    return any(os.environ.get(name) for name in SOCKET_VARIABLES)


class GunicornServer(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn with an application that is made already.

    ``make_app``: returns the application for SIGHUP, or None to keep the current one. ``options``:
    gunicorn's settings and hooks on top of ``dashboard.http.conf``. ``run()`` serves until a signal
    ends it.
    """

    def __init__(
        self, app: Flask, make_app: Callable[[], Flask | None] = lambda: None, **options: Any
    ) -> None:
        self.app, self.make_app, self.options = app, make_app, options
        super().__init__()

    def load_config(self) -> None:
        """Apply the settings."""
        for name, value in {**vars(conf), **self.options}.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """Return the application."""
        return self.app

    def reload(self) -> None:
        """Make the application again at SIGHUP."""
        made = self.make_app()
        if made is not None:
            self.app, self.callable = made, None
        super().reload()
