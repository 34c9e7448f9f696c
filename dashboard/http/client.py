"""The client's address and the scheme of URLs: from trusted proxies and from settings, never from a client's header."""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

OTHER_ROOT = b"The header SCRIPT_NAME is not the client's to send. Send the request without it.\n"

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def canonical(text: str) -> str | None:
    """Give the one form of an IP address, without port, brackets, quotes and zone; None for what is no address.

    IPv4 within IPv6 (``::ffff:192.0.2.1``) is IPv4. ``address:port`` is what Azure's gateways write.
    """
    text = text.strip().strip('"').strip()
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        return _read(address) if bracket and (not port or _is_port(port)) else None
    address, colon, port = text.rpartition(":")
    return _read(text) or (_read(address) if _is_port(colon + port) else None)


def client_of(peer: str, forwarded: str, proxies: int) -> str:
    """Give the client's address in its canonical form.

    ``peer`` is who opened the connection, ``forwarded`` the header X-Forwarded-For, of which the last ``proxies`` entries were
    written by trusted proxies: the first of these is the client. Where it is no address, the proxy that wrote it stands for the
    client. Entries are counted by commas alone: a quotation mark that a client sent must not swallow what a proxy appended.
    """
    entries = forwarded.split(",")
    trusted = entries[-proxies:] if 0 < proxies <= len(entries) else []
    return next((found for each in (*trusted, peer) if (found := canonical(each))), peer)


class FromClient:
    """WSGI: ``inner``, with REMOTE_ADDR by ``client_of`` and the URL scheme of the settings.

    ``root``: the path below which the operator has the console (gunicorn's SCRIPT_NAME). Where a request has another one, the
    server took it from a header, as gunicorn does by default: the path that a proxy's rules saw is not the one that would be
    answered, so it is refused.
    """

    def __init__(self, inner: "WSGIApplication", proxies: int, scheme: str, root: str = "") -> None:
        self._inner, self._proxies, self._scheme, self._root = inner, proxies, scheme, root

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Pass the request on."""
        if environ.get("SCRIPT_NAME", "") not in {"", self._root}:
            start_response("400 Bad Request", [("Content-Type", "text/plain"), ("Content-Length", str(len(OTHER_ROOT)))])
            return [OTHER_ROOT]
        peer, forwarded = environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")
        environ["REMOTE_ADDR"] = client_of(peer, forwarded, self._proxies)
        environ["wsgi.url_scheme"] = self._scheme
        return self._inner(environ, start_response)


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
