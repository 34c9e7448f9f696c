"""``dashboard check``: each problem gives a sentence with the next step, and an exit code."""

import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import Servers, free_port
from tests.support.processes import make_environ, run_here
from tests.support.sandbox import Sandbox

Run = Callable[..., Any]
SECRET = "hunter2"


@pytest.fixture
def run(sandbox: Sandbox, tmp_path: Path) -> Run:
    environ = make_environ(sandbox.url, tmp_path / "data", dashboard_api_timeout=3)
    return lambda *words, **more: run_here(words, {**environ, **more})


@pytest.fixture(scope="module")
def broken_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Yield data folders that cannot be used, each with the expected message."""
    file = tmp_path_factory.mktemp("broken") / "file"
    file.write_text("")
    return {
        "a file": (str(file), f"{file} is a file, or lies below one: name a folder"),
        "below a file": (str(file / "below"), "is a file, or lies below one: name a folder"),
        "that nobody may make": (
            "/proc/nowhere/data",
            "cannot be made (No such file or directory): name another folder",
        ),
    }


@pytest.mark.parametrize("broken", ["a file", "below a file", "that nobody may make"])
@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("db", "upgrade"),
        ("serve",),
        ("worker",),
        ("backup", "x"),
        ("users", "list"),
        ("refresh",),
    ],
    ids=" ".join,
)
def test_a_data_folder_that_cannot_be_used_is_a_sentence_of_every_command(
    run: Run, broken_folders: dict[str, tuple[str, str]], words: tuple[str, ...], broken: str
) -> None:
    folder, sentence = broken_folders[broken]
    ended = run(*words, DASHBOARD_DATA=folder)
    assert (ended.returncode, "DASHBOARD_DATA: " in ended.stderr, sentence in ended.stderr) == (
        2,
        True,
        True,
    ), ended.stderr
    assert "Traceback" not in ended.stderr


WITHOUT_PRIVILEGES = (
    ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
)
COMMANDS = [
    ("check",),
    ("db", "upgrade"),
    ("serve", "--no-worker"),
    ("worker",),
    ("backup", "{folder}/kept"),
    ("restore", "{folder}/kept", "--replace"),
    ("users", "list"),
    ("users", "create", "olga@example.com", "--role", "admin", "--password-stdin"),
    ("refresh",),
    ("report",),
]


def run_held(
    words: tuple[str, ...],
    environ: dict[str, str],
    before: Sequence[str] = (),
    largest_file: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command as a process, with an optional launcher and a limit for file sizes."""

    def hold() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.run(
        [*before, sys.executable, "-m", "dashboard", *words],
        env=environ,
        input="correct horse battery\n",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=hold,
    )


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_data_folder_of_another_user_is_a_sentence_of_every_command(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = Path("/root")
    if os.geteuid() == 0:
        folder = tmp_path / "of-another"
        folder.mkdir(mode=0o700)
        shutil.chown(folder, "nobody")
    environ = make_environ("http://127.0.0.1:9", folder / "data")
    ended = run_held(
        tuple(word.format(folder=tmp_path) for word in words), environ, before=WITHOUT_PRIVILEGES
    )
    sentence = f"DASHBOARD_DATA: {folder / 'data'} may not be made or used by this user"
    assert (ended.returncode, sentence in ended.stderr) == (2, True), ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data folder with a database, ``data``, and a backup of it, ``kept``."""
    folder = tmp_path_factory.mktemp("kept")
    environ = make_environ("http://127.0.0.1:9", folder / "data")
    for words in (("db", "upgrade"), ("backup", f"{folder}/kept")):
        assert run_here(words, environ).returncode == 0
    return folder


@pytest.mark.parametrize("largest_file", [0, 60 << 10])
@pytest.mark.parametrize(
    "words", [words for words in COMMANDS if words[0] not in {"serve", "worker"}], ids=" ".join
)
def test_a_disk_that_takes_no_more_is_a_sentence_of_every_command(
    prepared: Path, tmp_path: Path, words: tuple[str, ...], largest_file: int
) -> None:
    """With a limit for file sizes, writing fails as on a full disk.

    With some room left, a command may succeed.
    """
    shutil.copytree(prepared, tmp_path / "here")
    if words == ("db", "upgrade"):
        shutil.rmtree(tmp_path / "here" / "data")
    if words[0] == "backup":
        words = ("backup", "{folder}/another")
    words = tuple(word.format(folder=tmp_path / "here") for word in words)
    environ = make_environ("http://127.0.0.1:9", tmp_path / "here" / "data")
    ended = run_held(words, environ, largest_file=largest_file)
    output = ended.stdout + ended.stderr
    assert "Traceback" not in output
    if largest_file == 0 or words == ("db", "upgrade"):
        assert ended.returncode in {1, 2}, output
        assert re.search("make room|room|run dashboard check", output), output


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("REDIS_URL", each)
            for each in (
                "localhost:6379",
                "localhost",
                "redis://",
                f"redis://:{SECRET}@h:port/0",
                "http://h/0",
            )
        ),
        *(
            ("REDIS_URL", each)
            for each in (f"redis://:a/{SECRET}@h:6379/0", "redis://h:99999999/0")
        ),
        *(
            ("DATABASE_URL", each)
            for each in (
                f"postgresql://u:{SECRET}@h:port/x",
                f"mysql://u:{SECRET}@h/x",
                "postgresql:",
                "/some/file.db",
            )
        ),
    ],
)
def test_an_address_that_cannot_be_read_is_a_setting_that_needs_attention(
    run: Run, name: str, value: str
) -> None:
    ended = run("check", **{name: value})
    assert (ended.returncode, f"  {name}: must be" in ended.stderr) == (2, True), ended.stderr
    assert SECRET not in ended.stderr
    assert "Traceback" not in ended.stderr


@contextmanager
def server_that_answers(response: bytes) -> Iterator[int]:
    """Yield the port of a server without TLS that answers everything with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(10_000)
                    client.sendall(response)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def database_error(sqlstate: str, sentence: str) -> bytes:
    """Return an error message of PostgreSQL's protocol, version 3."""
    fields = b"SFATAL\0" + b"C" + sqlstate.encode() + b"\0M" + sentence.encode() + b"\0\0"
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


def http_answer(head: str) -> bytes:
    """Return a refusal over HTTP, with a header."""
    return f"HTTP/1.1 400 Bad Request\r\n{head}Content-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("sqlstate", "sentence"),
    [
        ("28P01", 'password authentication failed for user "console"'),
        ("53300", "sorry, too many clients already"),
    ],
)
def test_what_the_database_says_is_said(run: Run, sqlstate: str, sentence: str) -> None:
    with server_that_answers(database_error(sqlstate, sentence)) as port:
        address = f"postgresql://console:{SECRET}@127.0.0.1:{port}/console?sslmode=disable"
        ended = run("check", "database", DATABASE_URL=address)
    assert (ended.returncode, sentence in ended.stdout) == (1, True), ended.stdout
    assert "check DATABASE_URL" in ended.stdout
    assert SECRET not in ended.stdout + ended.stderr


def test_a_wrong_host_port_user_and_database_are_told_apart(run: Run, servers: Servers) -> None:
    url = servers.postgresql.create("for_the_check")
    base, _, _ = url.rpartition("/")
    outputs = {
        "port": run(
            "check", "database", DATABASE_URL=f"postgresql://u:{SECRET}@127.0.0.1:{free_port()}/x"
        ).stdout,
        "host": run(
            "check", "database", DATABASE_URL=f"postgresql://u:{SECRET}@nowhere.invalid/x"
        ).stdout,
        "database": run("check", "database", DATABASE_URL=f"{base}/no_such_database").stdout,
    }
    servers.postgresql.drop("for_the_check")
    assert "Connection refused" in outputs["port"]
    assert "nowhere.invalid" in outputs["host"]
    assert 'database "no_such_database" does not exist' in outputs["database"]
    assert SECRET not in "".join(outputs.values())


def test_what_redis_says_is_said(run: Run, servers: Servers) -> None:
    url = servers.postgresql.create("for_the_check")
    ended = run(
        "check", "Redis", DATABASE_URL=url, REDIS_URL=f"redis://:{SECRET}@127.0.0.1:{free_port()}/0"
    )
    servers.postgresql.drop("for_the_check")
    assert (ended.returncode, "Connection refused" in ended.stdout) == (1, True), ended.stdout
    assert "check REDIS_URL" in ended.stdout
    assert SECRET not in ended.stdout + ended.stderr


@pytest.mark.parametrize("what", ["API", "provider"])
def test_refused_unknown_and_without_tls_are_told_apart(
    sandbox: Sandbox, tmp_path: Path, what: str
) -> None:
    """Each case runs in a process, since tests must not resolve names."""
    setting = {"API": "peliqan_api_url", "provider": "dashboard_oidc_issuer"}[what]
    more = (
        {"dashboard_oidc_client_id": "console", "dashboard_oidc_roles": "admins=admin"}
        if what == "provider"
        else {}
    )
    with server_that_answers(http_answer("")) as port:
        addresses = (
            f"http://127.0.0.1:{free_port()}",
            "https://nowhere.invalid",
            f"https://127.0.0.1:{port}",
        )
        outputs = [
            run_held(
                ("check", what),
                make_environ(sandbox.url, tmp_path / "data", **{**more, setting: address}),
            )
            for address in addresses
        ]
    assert [ended.returncode for ended in outputs] == [1, 1, 1]
    expected = (
        "the connection was refused",
        "its host name cannot be resolved",
        "TLS could not be agreed on",
    )
    for sentence, ended in zip(expected, outputs, strict=True):
        assert sentence.lower() in ended.stdout.lower(), ended.stdout


@pytest.mark.parametrize(
    ("hours", "sentence"),
    [
        (2, "is 2 hours behind Peliqan's: set this machine's time"),
        (-2, "is 2 hours ahead of Peliqan's"),
        (0, "clock     fine"),
    ],
)
def test_a_clock_that_is_off_is_noticed(run: Run, hours: int, sentence: str) -> None:
    date = format_datetime(
        datetime.now(UTC) + timedelta(hours=hours, minutes=1 if hours > 0 else 0), usegmt=True
    )
    with server_that_answers(http_answer(f"Date: {date}\r\n")) as port:
        ended = run("check", "clock", PELIQAN_API_URL=f"http://127.0.0.1:{port}")
    assert (ended.returncode, sentence in ended.stdout) == (1 if hours else 0, True), ended.stdout
