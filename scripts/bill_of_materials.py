"""Write a CycloneDX bill of materials of a release: `python scripts/bill_of_materials.py FILE`.

It lists the locked Python packages with their hashes, by cyclonedx-py, and the vendored files of
static/vendor/vendor.json.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).parent.parent


def main(target: Path) -> None:
    """Write the bill of materials to ``target``."""
    options = [
        "requirements",
        "requirements.txt",
        "--pyproject=pyproject.toml",
        "--output-format=JSON",
        "--output-reproducible",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    bill = json.loads(done.stdout)
    manifest = json.loads((ROOT / "static/vendor/vendor.json").read_text())
    bill["components"] += [
        _component(name, entry) for name, entry in manifest.items() if name.startswith("static/")
    ]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(bill, indent=1) + "\n")
    print(f"{target}: {len(bill['components'])} components.")


def _component(name: str, entry: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": name,
        "name": entry["package"],
        "version": entry["version"],
        "description": f"Vendored as {name}: {entry['source']}",
        "purl": f"pkg:npm/{quote(entry['package'], safe='/')}@{entry['version']}",
        "licenses": [{"license": {"id": entry["licence"]}}],
        "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
