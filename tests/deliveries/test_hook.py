"""The data hook: examples/hook.py as a function and as an address, failures, settings."""

import importlib
import json
import re
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from dashboard.app import create_app
from dashboard.context import Services
from dashboard.core.database import db
from dashboard.deliveries.hook import AddressHook, FunctionHook, HookError
from dashboard.deliveries.tasks import deliver_new_connection
from dashboard.settings import SettingsError, read_settings
from tests.support.clock import Clock
from tests.support.databases import free_port
from tests.support.hook_receiver import SECRET, connect, tables_at_peliqan, the_delivery, work
from tests.support.sandbox import Sandbox
from tests.support.settings import make_settings
from tests.support.webhook_target import receiving

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
MESSAGE = {"key": "1-2-3", "complete": False, "rows": []}


@pytest.fixture
def engine() -> str:
    """Run on one engine: nothing here depends on the database."""
    return "embedded"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The example as it is in the repository, with a database of the test's own."""
    monkeypatch.setenv("MIRROR", str(tmp_path / "mirror.db"))
    monkeypatch.setenv("DASHBOARD_HOOK_SECRET", SECRET)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module("hook")
    sys.modules.pop("hook")


@pytest.fixture
def address(example: Any) -> Iterator[str]:
    """Serve the example as a back end."""
    server = make_server("127.0.0.1", 0, example.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/peliqan-data"
    server.shutdown()
    thread.join(5)


def mirrored(folder: Path) -> dict[str, list[int]]:
    with sqlite3.connect(folder / "mirror.db") as mirror:
        found: dict[str, list[int]] = {}
        for source, row_id in mirror.execute("SELECT source, id FROM mirror ORDER BY rowid"):
            found.setdefault(source, []).append(row_id)
        return found


@pytest.mark.parametrize("kind", ["function", "address"])
def test_the_example_has_every_row_once(
    kind: str, address: str, store: dict[str, str], sandbox: Sandbox, tmp_path: Path, clock: Clock
) -> None:
    hook = (
        {"dashboard_hook": address, "dashboard_hook_secret": SECRET}
        if kind == "address"
        else {"dashboard_hook": "hook:take"}
    )
    app = create_app(make_settings(sandbox.url, tmp_path, **store, **hook), clock=clock)
    with app.app_context():
        services: Services = app.extensions["services"]
        connection = connect(sandbox)
        deliver_new_connection(connection.account_id, connection.id, "olga@example.com")
        work(services)
        assert (the_delivery().state, the_delivery().error) == ("delivered", "")
        assert mirrored(tmp_path) == tables_at_peliqan(services, connection)
        db.session.remove()
        db.engine.dispose()


def test_the_example_takes_a_key_once_and_refuses_what_is_not_signed_or_old(
    address: str, tmp_path: Path, clock: Clock
) -> None:
    part = {
        **MESSAGE,
        "account": {"external_id": "cust-1"},
        "table": {"name": "t"},
        "rows": [{"id": 7}],
    }
    for _ in range(2):
        AddressHook(address, SECRET, clock).send(part)
    assert mirrored(tmp_path) == {"t": [7]}
    with pytest.raises(HookError, match="DASHBOARD_HOOK_SECRET"):
        AddressHook(address, "another secret of theirs", clock).send({**part, "key": "2"})
    clock.move(minutes=10)
    with pytest.raises(HookError, match="401"):
        AddressHook(address, SECRET, clock).send({**part, "key": "3"})
    assert mirrored(tmp_path) == {"t": [7]}


def test_what_a_function_raises_is_said_without_secrets_and_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_hook.py").write_text(
        "def take(message):\n"
        "    raise ValueError('password=hunter2 for https://x.example.com/hush?token=1')\n\n"
        "thing = 7\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(HookError, match=r"raised ValueError in broken_hook.py, line 2") as caught:
        FunctionHook("broken_hook:take").send(MESSAGE)
    assert not re.search("hunter2|hush|token=1", caught.value.sentence)
    assert caught.value.__context__ is None
    assert FunctionHook("broken_hook:thing").problem() == "broken_hook:thing is no function."
    for path in ("broken_hook:nothing", "nowhere_at_all:take"):
        assert "could not be imported" in (FunctionHook(path).problem() or "")


def test_an_address_that_refuses_and_one_without_tls_are_told_apart(clock: Clock) -> None:
    with pytest.raises(
        HookError, match=r"^The hook cannot be reached: the connection was refused\.$"
    ):
        AddressHook(f"http://127.0.0.1:{free_port()}/hook", SECRET, clock).send(MESSAGE)
    with (
        receiving() as receiver,
        pytest.raises(HookError, match=r"^The hook cannot be reached: TLS could not be agreed on"),
    ):
        AddressHook(receiver.url.replace("http://", "https://"), SECRET, clock).send(MESSAGE)


def test_what_json_cannot_hold_does_not_stop_a_part(clock: Clock) -> None:
    with receiving() as receiver:
        row = {"id": 1, "large": float("inf"), "half": "\ud83d", "deep": [{"n": float("-inf")}]}
        AddressHook(receiver.url, SECRET, clock).send({**MESSAGE, "rows": [row]})
        (message,) = receiver.bodies
        assert message["rows"] == [{**row, "large": "Infinity", "deep": [{"n": "-Infinity"}]}]
        json.loads(receiver.posts[0][1].decode("ascii"))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (
            {"DASHBOARD_HOOK": "http://backend.example.com/hush"},
            "module:function, or an https address",
        ),
        (
            {"DASHBOARD_HOOK": "https://backend.example.com:hush/"},
            "module:function, or an https address",
        ),
        ({"DASHBOARD_HOOK": "just words hush"}, "module:function, or an https address"),
        ({"DASHBOARD_HOOK": "https://backend.example.com/hush"}, "DASHBOARD_HOOK_SECRET"),
        (
            {"DASHBOARD_HOOK": "https://backend.example.com/hush", "DASHBOARD_HOOK_SECRET": "hush"},
            "16 characters or more",
        ),
    ],
)
def test_a_hook_that_cannot_be_is_named_without_what_was_typed(
    wrong: dict[str, str], error: str
) -> None:
    good = {"SECRET_KEY": "s" * 40, "PELIQAN_PARTNER_TOKEN": "t"}
    with pytest.raises(SettingsError, match=error) as caught:
        read_settings({**good, **wrong}, Path("/nonexistent"))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "hook",
    ["hook:take", "ours.hooks:Hook.take", "http://localhost:9/x", "https://backend.example.com/x"],
)
def test_a_hook_is_a_function_or_an_address_and_is_not_shown(hook: str) -> None:
    good = {"SECRET_KEY": "s" * 40, "PELIQAN_PARTNER_TOKEN": "t", "DASHBOARD_HOOK_SECRET": SECRET}
    settings = read_settings({**good, "DASHBOARD_HOOK": hook}, Path("/nonexistent"))
    assert settings.dashboard_hook == hook
    assert not {hook, SECRET} & set(re.findall(r"'([^']*)'", repr(settings)))
    assert settings.hook_tables == frozenset()
