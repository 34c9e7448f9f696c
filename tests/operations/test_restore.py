"""A restore while a console runs is refused; a killed console delays it by at most a minute."""

import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from sqlalchemy import func, select, update

from dashboard.cli import main
from dashboard.core.database import db
from dashboard.tasks.periodic import PeriodicTask
from tests.support.clock import Clock
from tests.support.databases import wait_for
from tests.support.processes import Processes

pytestmark = pytest.mark.both_engines


NOTES = select(func.count()).where(PeriodicTask.name.startswith("process "))


@pytest.fixture
def run(processes: Processes) -> Callable[..., Result]:
    """Run a command in this process."""
    return lambda *words: CliRunner().invoke(main, words, env=dict(processes.environ))


def test_a_store_in_use_is_not_replaced(
    app: Flask, processes: Processes, run: Callable[..., Result], tmp_path: Path, clock: Clock
) -> None:
    def notes() -> int:
        with app.app_context():
            found = db.session.scalar(NOTES) or 0
            db.session.remove()
        return found

    processes.serve()
    pages = processes.newest
    worker = processes.start("worker")
    wait_for(lambda: notes() == 2, "server and worker have registered", within=60)
    file = str(tmp_path / "kept.console")
    assert run("backup", file).exit_code == 0
    for last in (pages, worker):
        refused = run("restore", file, "--replace")
        assert (refused.exit_code, "Nothing was changed: end all of them" in refused.output) == (
            1,
            True,
        ), refused.output
        if last is pages:
            pages.terminate()
            assert pages.wait(60) == 0
    assert notes() == 1
    worker.send_signal(signal.SIGKILL)
    worker.wait(60)
    refused = run("restore", file, "--replace")
    assert "One that was killed counts as running for" in refused.output
    with app.app_context():
        before = clock() - timedelta(minutes=1)
        db.session.execute(
            update(PeriodicTask)
            .where(PeriodicTask.name.startswith("process "))
            .values(due_at=before)
        )
        db.session.commit()
        db.session.remove()
        db.engine.dispose()
    done = run("restore", file, "--replace")
    assert done.exit_code == 0, done.output
    # The two consoles that ran during the backup are forgotten.
    assert notes() == 0
    assert run("restore", file, "--replace").exit_code == 0
