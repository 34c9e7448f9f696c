"""Address and scheme of the client behind trusted proxies, and the path of the console."""

from collections.abc import Collection, Iterable
from ipaddress import IPv6Address, ip_address
from ssl import SSLSocket
from typing import TYPE_CHECKING

OTHER_ROOT = b"The header SCRIPT_NAME is not the client's to send. Send the request without it.\n"
OUTSIDE_PATH = (
    b"There is no such page: the console is below another path of this host."
    b" Ask your administrator for its address.\n\n"
    b"For administrators: the path is that of DASHBOARD_URL, and a proxy has to pass it on."
    b' See "Below a path" in docs/proxies.md.\n'
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def canonical(text: str) -> str | None:
    """Return an IP address without port, brackets, quotes and zone; None if it is no address.

    IPv4 within IPv6 (``::ffff:192.0.2.1``) becomes IPv4. Azure's gateways write ``address:port``.
    """
    text = text.strip().strip('"').strip()
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        return _read(address) if bracket and (not port or _is_port(port)) else None
    address, colon, port = text.rpartition(":")
    return _read(text) or (_read(address) if _is_port(colon + port) else None)


def client_of(peer: str, forwarded: str, proxies: int) -> str:
    """Return the client's address in its canonical form.

    ``peer``: address of the connection. ``forwarded``: the header X-Forwarded-For. Trusted proxies
    wrote its last ``proxies`` entries, of which the first is the client. If that is no address, the
    next one counts, up to the peer. Entries are split at commas only, since a quotation mark that a
    client sent must not hide what a proxy appended.
    """
    return next(
        (found for each in (*_trusted(forwarded, proxies), peer) if (found := canonical(each))),
        peer,
    )


def scheme_of(connection: str, forwarded: str, proxies: int) -> str:
    """Return the scheme that the client used: ``https`` or ``http``.

    ``connection``: scheme of the connection. ``forwarded``: the header X-Forwarded-Proto, read as
    ``client_of`` reads X-Forwarded-For. With fewer entries than proxies, or none with one of the
    two schemes, the connection's scheme counts.
    """
    schemes = (each.strip().lower() for each in _trusted(forwarded, proxies))
    return next((each for each in schemes if each in {"http", "https"}), connection)


class FromClient:
    """WSGI middleware that sets the client's address and scheme and answers only below a path.

    ``root``: the path without a slash at its end, such as ``/console``; empty for the whole host.
    Proxies must pass paths on unchanged. ``probes``: paths that also answer outside of ``root``,
    since Kubernetes and Prometheus query the process itself.

    Requests with SCRIPT_NAME are refused: a server may take it from a header, as gunicorn does by
    default, and the path would differ from the one that the proxy's rules checked.
    """

    def __init__(
        self, inner: "WSGIApplication", proxies: int, root: str = "", probes: Collection[str] = ()
    ) -> None:
        self._inner, self._proxies, self._root, self._probes = inner, proxies, root, probes

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Pass the request to the inner application, or refuse it."""
        if environ.get("SCRIPT_NAME"):
            return _answer(start_response, "400 Bad Request", "text/plain", OTHER_ROOT)
        path = environ.get("PATH_INFO", "")
        if self._root and path == self._root:
            query = environ.get("QUERY_STRING", "")
            location = f"{self._root}/?{query}" if query else f"{self._root}/"
            return _answer(
                start_response, "308 Permanent Redirect", "text/plain", b"", ("Location", location)
            )
        if self._root and path not in self._probes:
            if not path.startswith(f"{self._root}/"):
                return _answer(start_response, "404 Not Found", "text/plain", OUTSIDE_PATH)
            environ["PATH_INFO"] = path.removeprefix(self._root)
        environ["SCRIPT_NAME"] = self._root
        peer, forwarded = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
        environ["REMOTE_ADDR"] = client_of(peer, forwarded, self._proxies)
        protocols = environ.get("HTTP_X_FORWARDED_PROTO", "")
        environ["wsgi.url_scheme"] = scheme_of(
            _scheme_of_connection(environ), protocols, self._proxies
        )
        return self._inner(environ, start_response)


def _trusted(forwarded: str, proxies: int) -> list[str]:
    """Return the entries that trusted proxies wrote; none if there are fewer than proxies."""
    entries = forwarded.split(",")
    return entries[-proxies:] if 0 < proxies <= len(entries) else []


def _scheme_of_connection(environ: "WSGIEnvironment") -> str:
    """Return the connection's scheme, by its socket if known.

    Without the console's settings, gunicorn would take the scheme from clients' headers.
    """
    connection = environ.get("gunicorn.socket")
    if connection is None:
        return str(environ["wsgi.url_scheme"])
    return "https" if isinstance(connection, SSLSocket) else "http"


def _answer(
    start_response: "StartResponse", status: str, kind: str, body: bytes, *more: tuple[str, str]
) -> list[bytes]:
    head = [
        ("Content-Type", kind),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start_response(status, [*head, ("X-Content-Type-Options", "nosniff"), *more])
    return [body]


def _read(text: str) -> str | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(found)


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isdecimal() and text.isascii() and len(text) <= 6
