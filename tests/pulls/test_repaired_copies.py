"""Copies that were changed, dropped or damaged, and used names: the next pull repairs them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.pulled_copies import Copies
from tests.support.pulled_customers import Pulls, check_all_copied, run
from tests.support.sample_tables import TABLE, OwnTable


def taken_by(statement: str) -> Callable[[Copies, str], None]:
    return run("DROP TABLE {t}", statement)


HEALED = {
    "postgresql": {
        "a column that somebody dropped": run('ALTER TABLE {t} DROP COLUMN "Name"'),
        "the row's id that somebody dropped": run("ALTER TABLE {t} DROP COLUMN id"),
        "a column that somebody renamed": run('ALTER TABLE {t} RENAME "Name" TO other'),
        "a table that somebody dropped": run("DROP TABLE {t}"),
        "a table that somebody renamed": run("ALTER TABLE {t} RENAME TO other"),
        "its name taken by a view": taken_by("CREATE VIEW {t} AS SELECT 1"),
        "its name taken by a sequence": taken_by("CREATE SEQUENCE {t}"),
        "its name taken by a type": taken_by("CREATE TYPE {t} AS ENUM ('one')"),
        "its name taken by an index": taken_by("CREATE INDEX {t} ON _pull_log (began)"),
        "the name of what is under way taken": run(
            "DROP TABLE {t}", "CREATE VIEW _pull_new AS SELECT 1"
        ),
        "its line of the manifest made unreadable": run(
            f"UPDATE _pull_manifest SET kept = 'x' WHERE table_id = {TABLE}"
        ),
    },
    "sqlite": {
        "a column that somebody dropped": run('ALTER TABLE {t} DROP COLUMN "Name"'),
        "a column that somebody renamed": run('ALTER TABLE {t} RENAME "Name" TO other'),
        "a table that somebody dropped": run("DROP TABLE {t}"),
        "its name taken by a view": taken_by("CREATE VIEW {t} AS SELECT 1"),
        "its name taken by an index": taken_by("CREATE INDEX {t} ON _pull_log (began)"),
        "the name of what is under way taken": run(
            "DROP TABLE {t}", "CREATE VIEW _pull_new AS SELECT 1"
        ),
        "a broken view beside a new table": run(
            "DROP TABLE {t}", "CREATE VIEW broken AS SELECT 1 FROM nowhere"
        ),
        "its line of the manifest made unreadable": run(
            f"UPDATE _pull_manifest SET kept = '[]' WHERE table_id = {TABLE}"
        ),
    },
    "parquet": {
        "a file that is damaged in its middle": lambda copies, target: damage(
            copies.folder / target
        ),
        "a file that is cut off": lambda copies, target: (copies.folder / target).write_bytes(
            b"PAR1"
        ),
        "a file that is gone": lambda copies, target: (copies.folder / target).unlink(),
    },
}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4:104] = bytes(100)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("copies", "spoil"),
    [
        pytest.param(kind, spoil, id=f"{kind}: {name}")
        for kind, cases in HEALED.items()
        for name, spoil in cases.items()
    ],
    indirect=["copies"],
)
def test_a_copy_that_somebody_changed_is_made_whole_again_by_the_next_pull(
    step: Pulls, copies: Copies, fleet: OwnTable, spoil: Callable[[Copies, str], None]
) -> None:
    spoil(copies, step().copied[TABLE].target)
    fleet.put(3, "2026-01-03T00:00:00Z")
    check_all_copied(step())
    assert {row["id"]: row["Name"] for row in copies.rows(TABLE)} == {
        row["id"]: row["Name"] for row in fleet.rows
    }
    fleet.put(4, "2026-01-04T00:00:00Z")
    assert step().copied[TABLE].mode == "incremental"
    assert len(copies.rows(TABLE)) == 4
