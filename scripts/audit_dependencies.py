"""Report known vulnerabilities of the locked packages: `python scripts/audit_dependencies.py`.

Exit code 1 if there is one. pip-audit asks the package index for the advisories of each package. If
the index has no advisories, as is often so for mirrors, pip-audit skips every package and reports
"no known vulnerabilities". This script reports "NOT AUDITED" then.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LOCKED = ROOT / "requirements.txt"
# Advisories that do not apply, with the reason:
# {"PYSEC-2026-1": "only with a setting that the console does not use"}.
IGNORED: dict[str, str] = {}
# Audited first, to find out whether the index has advisories at all.
PROBE = "requests"
TIMEOUT_SECONDS = 300


def main() -> int:
    """Audit the locked packages, and print the result."""
    locked = LOCKED.read_text()
    probe = next(
        line.split(" ", 1)[0] for line in locked.splitlines() if line.startswith(f"{PROBE}==")
    )
    found = run_pip_audit(f"{probe}\n")
    if isinstance(found, str) or any("skip_reason" in each for each in found):
        why = found if isinstance(found, str) else "the package index has no advisories"
        print(
            f"NOT AUDITED: no source of advisories could be reached ({why})."
            " Run `make audit` where there is one."
        )
        return 0
    found = run_pip_audit(locked)
    if isinstance(found, str):
        print(f"NOT AUDITED: the source of advisories went away ({found}).")
        return 0
    return report(found)


def run_pip_audit(requirements: str) -> list[dict[str, Any]] | str:
    """Return pip-audit's result for each package, or a text that says why there is none."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        options = [
            "--requirement",
            file.name,
            "--no-deps",
            "--disable-pip",
            "--format=json",
            "--progress-spinner=off",
        ]
        ignored = [option for name in IGNORED for option in ("--ignore-vuln", name)]
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pip_audit", *options, *ignored],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
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


def report(packages: list[dict[str, Any]]) -> int:
    """Print a line for each vulnerability and a summary; return the exit code."""
    found = [(each, vulnerability) for each in packages for vulnerability in each.get("vulns", [])]
    for each, vulnerability in found:
        fixed_in = ", ".join(vulnerability.get("fix_versions", [])) or "not yet"
        print(f"{each['name']} {each['version']}: {vulnerability['id']}, mended in: {fixed_in}")
    skipped = sum("skip_reason" in each for each in packages)
    rest = f", {skipped} could not be looked up" if skipped else ""
    print(f"{len(packages) - skipped} packages audited, {len(found)} known weaknesses{rest}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
