"""Options of the commands that serve the sandbox."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask

from dashboard.cli import demo, main
from dashboard.sandbox import __main__ as module
from dashboard.sandbox.scenarios import SCENARIOS
from tests.support.webhook_target import SECRET


def test_the_command_refuses_an_unknown_scenario_with_the_names_that_there_are() -> None:
    for command in ("sandbox", "demo"):
        result = CliRunner().invoke(main, [command, "--scenario", "storm"])
        assert result.exit_code == 2
        assert all(f"'{name}'" in result.output for name in SCENARIOS)
        help_ = " ".join(CliRunner().invoke(main, [command, "--help"]).output.split())
        assert all(f"{name} {each.description}" in help_ for name, each in SCENARIOS.items())


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Flask]:
    """The sandboxes that commands would serve."""
    apps: list[Flask] = []

    def serve(app: Flask, *_where: Any) -> None:
        apps.append(app)

    monkeypatch.setattr("dashboard.sandbox.server.serve", serve)
    monkeypatch.setattr(module, "serve", serve)
    return apps


def test_the_commands_serve_the_scenario_that_was_asked_for(
    served: list[Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_module(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["sandbox", *words])
        module.main()

    def by_command(*words: str) -> None:
        assert CliRunner().invoke(main, ["sandbox", *words]).exit_code == 0

    ways: tuple[Callable[..., None], ...] = (by_command, by_module)
    for way in ways:
        way("--scenario", "late-runs", "--accounts", "12")
        world = served.pop().extensions["sandbox"].life.world
        assert (world.scenario, world.size) == (SCENARIOS["late-runs"], 12)
        way()
        assert not served.pop().extensions["sandbox"].life.world.quiet


def test_the_demo_passes_the_scenario_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(Exception):
        pass

    started: list[list[str]] = []

    def popen(words: list[str], **_more: Any) -> None:
        started.append(words)
        raise Enough

    monkeypatch.setattr(demo.subprocess, "Popen", popen)
    for words in (["--scenario", "noisy"], []):
        assert isinstance(CliRunner().invoke(main, ["demo", *words]).exception, Enough)
    assert ["--scenario=noisy" in words for words in started] == [True, False]
    assert not any(word.startswith("--scenario") for word in started[1])


def test_the_commands_take_address_and_secret_from_options_and_the_secret_from_the_environment(
    served: list[Flask], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "http://127.0.0.1:9/"
    for words, environ, wanted in (
        (["--webhook-secret", SECRET], "other", SECRET),
        ([], SECRET, SECRET),
        ([], "", ""),
    ):
        monkeypatch.setenv("SANDBOX_WEBHOOK_SECRET", environ)
        result = CliRunner().invoke(main, ["sandbox", "--webhook-url", url, *words])
        monkeypatch.setattr(sys, "argv", ["sandbox", "--webhook-url", url, *words])
        module.main()
        assert SECRET not in result.output + "".join(capsys.readouterr())
        for app in (served.pop(), served.pop()):
            target = app.extensions["sandbox"].webhooks._target
            assert (target.url, target.secret) == (url, wanted)
