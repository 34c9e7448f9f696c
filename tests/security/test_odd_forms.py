"""Odd bodies and fields of forms get a page with a message, never an internal error."""

import io
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.security.route_requests import ACCOUNT, RouteRequest, RouteRequests, send_request
from tests.security.test_injection import READ, Watched
from tests.support.people import Person

FORM = "application/x-www-form-urlencoded"
# Bodies that are not forms: content type, body.
NO_FORMS: dict[str, tuple[str, bytes]] = {
    "JSON": ("application/json", b'{"email": "viv@example.com", "name": "x", "address": "y"}'),
    "a JSON list": ("application/json", b"[1, 2]"),
    "broken JSON": ("application/json; charset=utf-16", b"{"),
    "JSON of another name": ("application/vnd.api+json", b"{}"),
    "text": ("text/plain", b"name=x&address=y"),
    "XML": ("application/xml", b"<a/>"),
    "bytes": ("application/octet-stream", b"\x00\xff" * 100),
    "no kind": ("x", b"name=x"),
    "a kind that is none": (";;;=,\xff", b"name=x"),
}
# Forms that no browser sends.
ODD_FORMS: dict[str, tuple[str, bytes]] = {
    "bytes that are no UTF-8": (FORM, b"name=%ff%fe\xff\xfe&address=%c3&why=%ed%a0%80&email=%00"),
    "another charset": (f"{FORM}; charset=utf-16", "name=x".encode("utf-16")),
    "no charset": (f"{FORM}; charset=nothing", b"name=x"),
    "signs alone": (FORM, b"&&&===&=&;&%&%%&%zz=%"),
    "many fields": (FORM, b"&".join(b"f%d=1" % n for n in range(3_000))),
    "one field many times": (FORM, b"&".join([b"name=x&address=y&email=z"] * 1_000)),
    "a long field": (FORM, b"name=" + b"x" * 900_000),
    "too much": (FORM, b"name=" + b"x" * 2_000_000),
    "no boundary": ("multipart/form-data", b"--x\r\n\r\n--x--"),
    "an empty boundary": ("multipart/form-data; boundary=", b"--\r\n\r\n----"),
    "another boundary": (
        "multipart/form-data; boundary=a",
        b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--',
    ),
    "parts without a name": (
        "multipart/form-data; boundary=a",
        b"--a\r\nContent-Disposition: form-data\r\n\r\nx\r\n--a--",
    ),
    "cut off": (
        "multipart/form-data; boundary=a",
        b'--a\r\nContent-Disposition: form-data; name="name"\r\n\r\nx',
    ),
    "a part of another kind": (
        "multipart/form-data; boundary=a",
        b'--a\r\nContent-Disposition: form-data; name="name"\r\nContent-Type: text/plain; '
        b"charset=nothing\r\n\r\n\xff\r\n--a--",
    ),
    "many parts": (
        "multipart/form-data; boundary=a",
        b"".join(
            b'--a\r\nContent-Disposition: form-data; name="f%d"\r\n\r\nx\r\n' % n
            for n in range(1200)
        )
        + b"--a--",
    ),
    "nothing": (FORM, b""),
}
ODD_ADDRESSES = [
    "http://[", "http://]", "postgresql://[::1", "postgresql://::1]",
    "postgresql://user@[::1]:x/db", "postgresql://user@h:99999999999/db",
    "postgresql://user@h:-1/db", "postgresql://user@h:/db", "postgresql://user@h:٣/db",
    "postgresql://user@h/db?sslmode", "postgresql://",
    "postgresql:", "://", "//", ":", "@", "[", "postgresql://user:p%zz@h/db",
        "postgresql://user@h/db#x", "postgresql://us\0er@h/db", "\0",
    "postgresql://user@ex\u0430mple.com/db", "postgresql://user@" + "a" * 300 + "/db",
    "postgresql://user@xn--a/db", "postgresql://user@127。1/db",
    "host='", "host=a dbname=b user=c service=d", "host=\\", "=", "sqlite://", "sqlite:///",
    "sqlite:////", "sqlite:///\0", "sqlite:///~/x",
    "sqlite:////dev/null", "sqlite:////dev/full", "sqlite:////proc/self/mem",
    "sqlite:////" + "a" * 300, "sqlite:////" + "a/" * 900,
    "sqlite:////etc/passwd", "parquet://", "parquet:///dev/null", "parquet:///" + "b" * 300,
    "parquet:///proc/self/fd/0", "parquet:///etc/passwd/x", "file:///etc/passwd", "json://[",
        "json://[::1", "json://h:99999999/", "json://h:x/",
    "json://:80", "mailto://[", "mailto://a@[::1", "mailtos://u:p@h?smtp=[", "slack://[",
        "ntfy://[", "https://[::1]:x/", "json://" + "%00" * 50,
    "json://user:pass@h/?+\x7f=\x80", "data:x", "javascript:x", "\u202ejson://h", "JSON://\u2028",
    "x" * 5000, "１", "json://h/?" + "a=b&" * 400,
]  # fmt: skip


@pytest.fixture(scope="module", params=["embedded", "servers"])
def engine(request: pytest.FixtureRequest) -> str:
    """Both databases: each has its own rules for texts."""
    return str(request.param)


@pytest.fixture(scope="module")
def all_requests(route_requests: RouteRequests) -> list[RouteRequest]:
    """Return every route with a form, except sign-out, which ends the session."""
    return [each for each in route_requests.all("POST") if each.endpoint != "people.logout"]


@pytest.fixture(scope="module")
def fields(app: Flask, all_requests: list[RouteRequest]) -> dict[str, set[str]]:
    """Return the fields of each route, recorded while it reads its request."""
    adam, found = Person(app.test_client(), "adam@example.com"), defaultdict(set)
    token = adam.token()
    before = app.request_class.parameter_storage_class
    app.request_class.parameter_storage_class = Watched
    for request in all_requests:
        client = (
            app.test_client()
            if request.endpoint in {"people.login", "second.code"}
            else adam.client
        )
        csrf_token = token if client is adam.client else Person(client).token("/login")
        READ.clear()
        send_request(client, request, data={"csrf_token": csrf_token})
        found[request.endpoint] |= READ - {"csrf_token"}
    app.request_class.parameter_storage_class = before
    found["people.login"] |= {"email", "password", "next"}
    return found


@pytest.fixture(scope="module")
def adam(app: Flask) -> Person:
    return Person(app.test_client(), "adam@example.com")


def check(response: TestResponse, what: str) -> None:
    """Check for a message or an ordinary response; Peliqan's own refusals are allowed."""
    assert response.status_code < 500 or response.status_code == 502, (
        f"{what}: {response.status_code}\n{response.text[:1500]}"
    )
    assert "made a mistake" not in response.text, what
    if response.status_code in {400, 413, 422}:
        assert "<h1" in response.text or response.is_json, what


def sending(
    person: Person, request: RouteRequest, kind: str, body: bytes, token: str
) -> TestResponse:
    return send_request(
        person.client, request, data=body, content_type=kind, headers={"X-CSRFToken": token}
    )


@pytest.mark.parametrize("kind", NO_FORMS)
def test_a_body_that_is_no_form_is_refused_by_every_route(
    app: Flask, all_requests: list[RouteRequest], adam: Person, kind: str
) -> None:
    token, stranger = adam.token(), Person(app.test_client())
    strangers = stranger.token("/login")
    for request in all_requests:
        is_public = request.role == "public"
        response = sending(
            stranger if is_public else adam,
            request,
            *NO_FORMS[kind],
            strangers if is_public else token,
        )
        assert response.status_code == 400, f"{request} {kind}: {response.status_code}"
        assert "reads forms" in response.text


@pytest.mark.parametrize("kind", ODD_FORMS)
def test_an_odd_form_breaks_no_route(
    app: Flask, all_requests: list[RouteRequest], adam: Person, kind: str
) -> None:
    token, stranger = adam.token(), Person(app.test_client())
    strangers = stranger.token("/login")
    for request in all_requests:
        is_public = request.role == "public"
        check(
            sending(
                stranger if is_public else adam,
                request,
                *ODD_FORMS[kind],
                strangers if is_public else token,
            ),
            f"{request} {kind}",
        )


def test_a_file_in_the_place_of_any_field_is_refused(
    app: Flask, all_requests: list[RouteRequest], adam: Person, fields: dict[str, set[str]]
) -> None:
    token, stranger, tried = adam.token(), Person(app.test_client()), 0
    strangers = stranger.token("/login")
    for request in all_requests:
        person, mark = (stranger, strangers) if request.role == "public" else (adam, token)
        for name in sorted(fields[request.endpoint] | {"csrf_token", "anything"}):
            data: dict[str, Any] = {"csrf_token": mark, name: (io.BytesIO(b"text"), "a.txt")}
            response = send_request(
                person.client, request, data=data, headers={"X-CSRFToken": mark}
            )
            assert response.status_code == 400, f"{request} {name}: {response.status_code}"
            assert "takes a file" in response.text
            tried += 1
    assert tried > 200


def values() -> Iterator[list[str]]:
    yield ["", "x"]
    yield ["x"] * 3
    yield ["\0x", "x"]
    yield ["\ufffe\ufdd0\u202e", "1"]
    yield ["١", "1"]


def test_a_field_that_comes_twice_counts_once_and_breaks_nothing(
    app: Flask, all_requests: list[RouteRequest], adam: Person, fields: dict[str, set[str]]
) -> None:
    token, stranger, tried, each = adam.token(), Person(app.test_client()), 0, list(values())
    strangers = stranger.token("/login")
    for request in all_requests:
        person, mark = (stranger, strangers) if request.role == "public" else (adam, token)
        for name in sorted(fields[request.endpoint]):
            value = each[tried % len(each)]
            tried += 1
            check(
                send_request(person.client, request, data={"csrf_token": mark, name: value}),
                f"{request} {name}={value!r}",
            )
    assert tried > 50


@pytest.mark.parametrize("address", ODD_ADDRESSES)
def test_an_odd_address_is_refused_with_a_sentence(adam: Person, address: str) -> None:
    text = address.encode("utf-8", "replace").decode()
    cases = {
        "/pulls": {"name": "Odd", "every": "60", "full_every": "20", "zone": "UTC"},
        "/alerts": {"name": "Odd", "sends": "new", "severity": "critical", "zone": "UTC"},
        f"/accounts/{ACCOUNT}/warehouse": {},
    }
    token = adam.token()
    for path, rest in cases.items():
        response = adam.client.post(path, data={"csrf_token": token, "address": text, **rest})
        assert response.status_code in {303, 302, 400, 422}, (
            f"{path} {ascii(address)[:80]}: {response.status_code}\n{response.text[:1500]}"
        )
        if path == "/pulls":
            assert response.status_code == 422, ascii(address)
            assert "alert-danger" in response.text


def test_an_odd_address_is_no_address_of_a_page_either(app: Flask, adam: Person) -> None:
    """The two ways to return to a page: a header and a field."""
    token = adam.token()
    for address in ODD_ADDRESSES:
        text = address.encode("utf-8", "replace").decode().replace("\0", "")
        headers = {
            "Referer": text.encode().decode("latin-1"),
            "HX-Current-URL": text.encode().decode("latin-1"),
        }
        if not all(value.isprintable() for value in headers.values()):
            headers = {}
        for person, path in (
            (adam, "/me/tokens/1/revoke"),
            (Person(app.test_client()), "/login"),
            (Person(app.test_client()), "/pulls"),
        ):
            response = person.client.post(
                path, data={"csrf_token": token, "next": text}, headers=headers
            )
            assert response.status_code < 500, f"{path} {ascii(address)[:80]}"


def test_a_path_that_leads_in_a_circle_is_no_address(adam: Person, tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    token = adam.token()
    for address in (f"parquet://{tmp_path}/one/x", f"sqlite:///{tmp_path}/one"):
        form = {
            "csrf_token": token,
            "address": address,
            "name": "Odd",
            "every": "60",
            "full_every": "20",
            "zone": "UTC",
        }
        response = adam.client.post("/pulls", data=form)
        assert response.status_code == 422
        assert "cannot follow that path" in response.text
