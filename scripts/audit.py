"""Known weaknesses of what is installed: `python scripts/audit.py`. Exit code 1 where there is one.

pip-audit asks the package index for the advisories of each locked package. An index that has none (a mirror often does not) makes
it say "no known vulnerabilities" all the same, and skip every package: here that is said in one line, and is no success.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCKED = ROOT / "requirements.txt"
# An advisory that does not concern us, with the reason: {"PYSEC-2026-1": "only with a setting that we do not use"}.
IGNORED: dict[str, str] = {}
# Asked for first, alone: whether the index knows advisories at all.
PROBE = "requests"
LONGEST = 300


def main() -> int:
    """Probe, ask, tell."""
    locked = LOCKED.read_text()
    probe = next(
        line.split(" ", 1)[0] for line in locked.splitlines() if line.startswith(f"{PROBE}==")
    )
    found = ask(f"{probe}\n")
    if isinstance(found, str) or any("skip_reason" in each for each in found):
        why = found if isinstance(found, str) else "the package index has no advisories"
        print(
            f"NOT AUDITED: no source of advisories could be reached ({why}). Run `make audit` where there is one."
        )
        return 0
    found = ask(locked)
    if isinstance(found, str):
        print(f"NOT AUDITED: the source of advisories went away ({found}).")
        return 0
    return tell(found)


def ask(requirements: str) -> list[dict[str, Any]] | str:
    """What pip-audit says of each package; or in a few words why it cannot."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        words = [
            "--requirement",
            file.name,
            "--no-deps",
            "--disable-pip",
            "--format=json",
            "--progress-spinner=off",
        ]
        ignored = [word for name in IGNORED for word in ("--ignore-vuln", name)]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pip_audit", *words, *ignored],
                capture_output=True,
                text=True,
                timeout=LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "no answer in time"
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return last.partition(":")[0].rpartition(".")[2][:80]
    return packages


def tell(packages: list[dict[str, Any]]) -> int:
    """A line for each weakness, and one at the end."""
    weak = [(each, weakness) for each in packages for weakness in each.get("vulns", [])]
    for each, weakness in weak:
        mended = ", ".join(weakness.get("fix_versions", [])) or "not yet"
        print(f"{each['name']} {each['version']}: {weakness['id']}, mended in: {mended}")
    skipped = sum("skip_reason" in each for each in packages)
    rest = f", {skipped} could not be looked up" if skipped else ""
    print(f"{len(packages) - skipped} packages audited, {len(weak)} known weaknesses{rest}.")
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
