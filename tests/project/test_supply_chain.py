"""The supply chain: audit, search for secrets, bill of materials.

An audit without advisories is no success.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts import audit_dependencies as audit
from scripts import bill_of_materials as bill
from scripts import find_secrets

ROOT = Path(__file__).parents[2]


def answers(monkeypatch: pytest.MonkeyPatch, *response: Any) -> list[list[str]]:
    """Replace pip-audit by a function that returns these results in turn."""
    requested: list[list[str]] = []
    remaining = list(response)

    def run(words: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
        requested.append(Path(words[words.index("--requirement") + 1]).read_text().split("\n"))
        found = remaining.pop(0)
        out = json.dumps({"dependencies": found}) if isinstance(found, list) else ""
        return subprocess.CompletedProcess(words, 0, out, found if isinstance(found, str) else "")

    monkeypatch.setattr(audit.subprocess, "run", run)
    return requested


FINE = [{"name": "requests", "version": "1", "vulns": []}]


def test_an_index_without_advisories_is_said_and_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    requested = answers(
        monkeypatch, [{"name": "requests", "skip_reason": "Dependency not found on PyPI"}]
    )
    assert audit.main() == 0
    out = capsys.readouterr().out
    assert out.startswith("NOT AUDITED: no source of advisories could be reached")
    assert "(the package index has no advisories)." in out
    assert len(requested) == 1
    assert len(requested[0]) == 2


def test_no_network_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(
        monkeypatch, "Traceback\nrequests.exceptions.ConnectionError: HTTPSConnectionPool(host='…')"
    )
    assert audit.main() == 0
    assert capsys.readouterr().out == (
        "NOT AUDITED: no source of advisories could be reached (ConnectionError)."
        " Run `make audit` where there is one.\n"
    )


def test_a_known_weakness_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weak = {
        "name": "jinja2",
        "version": "1.0",
        "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}],
    }
    requested = answers(monkeypatch, FINE, [*FINE, weak])
    assert audit.main() == 1
    assert "jinja2 1.0: PYSEC-1, mended in: 1.1" in capsys.readouterr().out
    assert any(line.startswith("flask==") for line in requested[1])


def test_secrets_are_found_by_file_and_line_and_not_repeated(tmp_path: Path) -> None:
    key = "AKIA" + "IOSFODNN7EXAMPLQ"
    (tmp_path / "settings.py").write_text(f'first = 1\nkey = "{key}"\n')
    (tmp_path / "key.pem").write_text("-----BEGIN RSA " + "PRIVATE KEY-----\nMII\n")
    (tmp_path / "fine.py").write_text('name = "nothing"\n')
    found = find_secrets.scan(tmp_path, ["settings.py", "key.pem", "fine.py"])
    assert [each.rpartition(":")[0] for each in found] == ["key.pem:1", "settings.py:2"]
    assert key not in str(found)


def test_the_bill_of_materials_names_every_locked_package_and_every_vendored_file(
    tmp_path: Path,
) -> None:
    target = tmp_path / "dist" / "bill.json"
    bill.main(target)
    made = json.loads(target.read_text())
    names = {(each["name"].lower(), each["version"]) for each in made["components"]}
    locked = [
        line.split(" ")[0].partition("==")
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line
    ]
    assert {(name, version) for name, _, version in locked} <= names
    vendored = json.loads((ROOT / "static/vendor/vendor.json").read_text())
    refs = {each["bom-ref"]: each for each in made["components"]}
    for name, entry in vendored.items():
        if name.startswith("static/"):
            assert refs[name]["hashes"] == [{"alg": "SHA-256", "content": entry["sha256"]}]
