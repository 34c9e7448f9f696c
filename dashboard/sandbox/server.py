"""Serves the stand-in on one address with gunicorn's threads: one process, since what was done is kept in memory."""

import socket
import sys
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, app: Flask, options: dict[str, Any]) -> None:
        self.app, self.options = app, options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self.options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self.app


def serve(app: Flask, host: str = "127.0.0.1", port: int = 8901, threads: int = 64) -> None:
    """Serve until interrupted. A taken port is said in one sentence, with exit code 1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            sys.exit(f"The sandbox cannot listen on {host}:{port}: {error.strerror}. Choose another with --port.")
    options = {"bind": f"{host}:{port}", "workers": 1, "threads": threads, "worker_class": "gthread", "loglevel": "warning"}
    _Server(app, {**options, "keepalive": 30, "control_socket_disable": True, "graceful_timeout": 1}).run()
