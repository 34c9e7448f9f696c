"""Serves the sandbox on one address with gunicorn's threads.

One process: the changes since the start are in its memory.
"""

import os
import signal
import socket
import sys
from functools import partial
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

os.register_at_fork(
    after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, ThreadWorker.SIGNALS)
)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's worker without SIGINT: a terminal sends that to all processes at once."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        # gunicorn forks right after this. Blocked signals wait until the child has its handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, self.SIGNALS)

    def init_signals(self) -> None:
        """Install gunicorn's handlers, except that for SIGINT."""
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.SIGNALS)


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
    """Serve until interrupted. Exits with code 1 and a message if the port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            sys.exit(
                f"The sandbox cannot listen on {host}:{port}: {error.strerror}. "
                "Choose another with --port."
            )
    options = {
        "bind": f"{host}:{port}",
        "workers": 1,
        "threads": threads,
        "worker_class": Worker,
        "loglevel": "warning",
    }
    # At its end gunicorn waits for kept-alive connections; this keepalive is longer than its wait.
    _Server(
        app, {**options, "keepalive": 30, "control_socket_disable": True, "graceful_timeout": 5}
    ).run()
