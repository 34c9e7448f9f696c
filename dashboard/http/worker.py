"""gunicorn's threaded worker with one loop for all sockets: no thread waits for a client.

gunicorn's gthread uses a thread from the first byte of a connection, and reads and writes in it
without a time limit: as many slow clients as threads stop a process. Here, the loop collects a
request until it is complete, with a time limit for each part, and a thread reads it from memory.
If the client does not accept a response at once, any free thread continues it when the socket
accepts more. Signals, restarts and settings are gunicorn's.
"""

import errno
import os
import selectors
import signal
import socket
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from functools import partial
from io import BytesIO
from time import monotonic
from typing import Any, Final

from gunicorn import http
from gunicorn.http import wsgi
from gunicorn.http.body import ChunkedReader
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, ThreadWorker

from dashboard.http import refusals
from dashboard.http.connection import ClientLeft, Connection, Phase
from dashboard.http.refusals import Refusal
from dashboard.http.request_reader import Stage

# Memory limit for bodies and responses of all connections, in bytes. Above it, the connection that
# holds the most is closed.
BUFFERED_BYTES: Final = 64 * 1024 * 1024
# Most bytes that are read after the last response, so that the client receives it before closing.
DRAINED_BYTES: Final = 4 * 1024 * 1024
PIECE: Final = 8192
# Seconds between two checks for connections past their time limit.
SWEEP: Final = 0.2
NO_MORE_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})
NO_CONNECTION: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED})
ENDED: Final = object()
REFUSED: Final = {
    Stage.LINE_TOO_LONG: refusals.LINE_TOO_LONG,
    Stage.HEAD_TOO_LARGE: refusals.HEAD_TOO_LARGE,
    Stage.BODY_TOO_LARGE: refusals.BODY_TOO_LARGE,
    Stage.MALFORMED: refusals.UNREADABLE,
}


os.register_at_fork(
    after_in_parent=partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, ThreadWorker.SIGNALS)
)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A worker process; its main thread runs the loop.

    A connection belongs either to the loop, and is in ``_parked``, or to one thread.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        # gunicorn creates a worker right before the fork. Signals are blocked until the child has
        # its own handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, self.SIGNALS)
        self.alive: bool
        self._open: set[Connection] = set()
        self._parked: set[Connection] = set()
        self._swept = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse settings that this worker does not support.

        Raises:
            RuntimeError: TLS, the PROXY protocol or uWSGI's is configured.
        """
        if cfg.is_ssl or cfg.proxy_protocol != "off" or cfg.protocol != "http":
            raise RuntimeError(
                "The console speaks plain HTTP/1.1 alone: leave TLS to a proxy,"
                " and switch the PROXY and uwsgi protocols off."
            )

    def init_signals(self) -> None:
        """Install gunicorn's handlers, but ignore SIGINT.

        A terminal sends it to all processes at once, and the arbiter passes it on.
        """
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.SIGNALS)

    # The loop: accept, read, write, close.

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection; if there are too many, close the one that has waited longest."""
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in NO_MORE_FILES:
                self._make_room()
            elif error.errno not in NO_CONNECTION:
                raise
            return
        self.nr_conns += 1
        connection = Connection(sock, client, listener.getsockname())
        self._open.add(connection)
        self._park(connection, Phase.NEW)
        self._read(connection)
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def _make_room(self) -> None:
        if self._parked:
            self._drop(min(self._parked, key=lambda each: each.since))

    def _park(self, connection: Connection, phase: Phase, seconds: float | None = None) -> None:
        """Wait for the client within the time limit of the phase."""
        connection.enter(phase, seconds)
        self._parked.add(connection)
        event = selectors.EVENT_WRITE if phase is Phase.WRITING else selectors.EVENT_READ
        self.poller.register(connection.sock, event, partial(self._ready, connection))
        self._bound_memory(connection)

    def _unpark(self, connection: Connection) -> None:
        connection.leave()
        self._parked.discard(connection)
        self.poller.unregister(connection.sock)

    def _ready(self, connection: Connection, _sock: socket.socket) -> None:
        # Another event of the same iteration may have closed it.
        if connection in self._parked:
            (self._write if connection.phase is Phase.WRITING else self._read)(connection)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection)
            return
        if connection.phase is Phase.LINGERING:
            connection.drained += len(data)
            if not data or connection.drained > DRAINED_BYTES:
                self._drop(connection)
        elif data:
            connection.arriving.add(data)
            self._consider(connection)
        elif len(connection.arriving):
            self._refuse(connection, refusals.INCOMPLETE)
        else:
            self._drop(connection)

    def _consider(self, connection: Connection) -> None:
        """Act on what has been received of the request."""
        stage = connection.arriving.stage()
        if stage is Stage.COMPLETE:
            self._unpark(connection)
            connection.answer = self._answer(connection, *connection.next_request())
            self._resume(connection)
        elif stage in REFUSED:
            self._refuse(connection, REFUSED[stage])
        elif stage is Stage.HEAD and connection.phase is not Phase.HEAD:
            connection.enter(Phase.HEAD)
        elif stage is Stage.BODY and connection.phase is not Phase.BODY:
            connection.enter(Phase.BODY)
            if connection.arriving.expects_continue:
                connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
                with suppress(ClientLeft):
                    connection.flush()
        self._bound_memory(connection)

    def _write(self, connection: Connection) -> None:
        try:
            if connection.flush():
                self._unpark(connection)
                self._resume(connection)
            else:
                connection.renew()
        except ClientLeft:
            self._drop(connection)

    def _refuse(self, connection: Connection, refusal: Refusal) -> None:
        """Send a refusal and end the connection."""
        self._unpark(connection)
        self.log.info("A request was refused: %s %s", refusal.status, refusal.reason)
        try:
            connection.send(refusal.answer)
            connection.flush()
        except ClientLeft:
            self._close(connection)
        else:
            self._linger(connection)

    def _linger(self, connection: Connection) -> None:
        """End the response, and read a little more before closing.

        Closing with unread bytes could destroy the response (RFC 9112, section 9.6).
        """
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
        else:
            self._park(connection, Phase.LINGERING)

    def _drop(self, connection: Connection) -> None:
        self._unpark(connection)
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        self.nr_conns -= 1
        self._open.discard(connection)
        connection.sock.close()
        if connection.answer is not None:
            # In a thread, since the application may take long to close what it has open.
            self.tpool.submit(self._abandon, connection.answer)

    def _abandon(self, answer: Generator[None, None, None]) -> None:
        try:
            answer.close()
        except Exception:
            self.log.exception("Error while closing an answer.")

    def _bound_memory(self, grown: Connection) -> None:
        if (
            grown.buffered > PIECE
            and sum(each.buffered for each in self._open) > BUFFERED_BYTES
            and self._parked
        ):
            self._drop(max(self._parked, key=lambda each: each.buffered))

    # What gunicorn's loop calls once a second, and when it ends.

    def murder_keepalived(self, force: bool = False) -> None:
        """Close connections past their time limit; with ``force`` all that no thread uses."""
        now = monotonic()
        if force:
            for connection in tuple(self._parked):
                self._drop(connection)
        elif now >= self._swept + SWEEP:
            self._swept = now
            for connection in [each for each in self._parked if each.deadline <= now]:
                self._expire(connection)

    def murder_pending(self) -> None:
        """Do nothing: ``murder_keepalived`` closes pending connections as well."""

    def _cap_keepalive(self, deadline: float) -> None:
        """Close connections without a request by ``deadline``, since the server stops."""
        for connection in self._parked:
            if connection.phase in {Phase.NEW, Phase.IDLE}:
                connection.deadline = min(connection.deadline, deadline)

    def _expire(self, connection: Connection) -> None:
        if connection.phase in {Phase.HEAD, Phase.BODY}:
            self._refuse(connection, refusals.TOO_SLOW)
        else:
            self._drop(connection)

    # Threads: run the application.

    def _resume(self, connection: Connection) -> None:
        future = self.tpool.submit(next, connection.answer, ENDED)
        future.add_done_callback(
            lambda done: self.method_queue.defer(self._paused, connection, done)
        )

    def _paused(self, connection: Connection, done: "Future[object]") -> None:
        """Continue after a thread returned the connection, with the response complete or not."""
        if (error := done.exception()) is not None:
            self.log.error("Error while answering.", exc_info=error)
            connection.keep = False
        elif done.result() is not ENDED:
            self._park(connection, Phase.WRITING)
            return
        connection.answer, connection.working = None, 0
        if connection.lost:
            self._close(connection)
        elif not connection.keep:
            self._linger(connection)
        else:
            self._park(
                connection, Phase.IDLE, self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER
            )
            if len(connection.arriving):
                self._consider(connection)

    def _answer(
        self, connection: Connection, request: bytes, cut: bool
    ) -> Generator[None, None, None]:
        """Answer a request; yields whenever the client accepts no more for now.

        Threads run it, one at a time.
        """
        connection.keep = False
        try:
            req = next(http.get_parser(self.cfg, _pieces(request), connection.client))
            if isinstance(req.body.reader, ChunkedReader):
                # Read completely here, so that malformed chunks are refused and not an error of the
                # application.
                req.body = BytesIO(req.body.read())
            yield from self._call(connection, req, cut)
        except ClientLeft:
            connection.lost = True
        except (Exception, SystemExit) as error:  # every error of the application gets a response
            refusal = refusals.of_error(error)
            if refusal is None:
                self.log.exception("Error while answering.")
            else:
                self.log.warning("A request could not be read: %s", type(error).__name__)
            if not connection.began:
                connection.send((refusal or refusals.MISTAKE).answer)
                with suppress(ClientLeft):
                    yield from connection.drain()

    def _call(self, connection: Connection, req: Any, cut: bool) -> Generator[None, None, None]:
        # A datetime, since gunicorn's access log takes a difference of two.
        started, environ, resp = datetime.now(), dict[str, Any](), None
        # The loop has answered "Expect: 100-continue" already.
        req._expected_100_continue = False
        try:
            self.cfg.pre_request(self, req)
            resp, environ = wsgi.create(
                req, connection, connection.client, connection.server, self.cfg
            )
            environ.update({"gunicorn.socket": connection.sock, "wsgi.multithread": True})
            self._count_request()
            if cut or not self.alive or not self.cfg.keepalive:
                resp.force_close()
            answer = self.wsgi(environ, resp.start_response)
            try:
                for piece in answer:
                    resp.write(piece)
                    yield from connection.drain()
                resp.close()
                yield from connection.drain()
                connection.keep = not resp.should_close()
            finally:
                self.log.access(resp, req, environ, datetime.now() - started)
                if hasattr(answer, "close"):
                    answer.close()
        finally:
            self.cfg.post_request(self, req, environ, resp)

    def _count_request(self) -> None:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False


def _pieces(request: bytes) -> Iterator[bytes]:
    """Yield a request in pieces as from a socket.

    For each chunk of a body, the parser copies the rest of what it holds.
    """
    for at in range(0, len(request), PIECE):
        yield request[at : at + PIECE]
