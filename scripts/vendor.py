"""Fetch the vendored assets: `python scripts/vendor.py` (needs npm).

An asset is a file of an npm package of a fixed version. The icons that templates name are put from
Tabler's set into one sprite. static/vendor/vendor.json lists version, source, licence and SHA-256
of each; a test compares the files with it.
"""

import hashlib
import json
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
ASSETS = {
    "static/vendor/htmx.min.js": ("htmx.org", "2.0.11", "package/dist/htmx.min.js", "0BSD"),
    "static/vendor/tabler.min.css": (
        "@tabler/core",
        "1.6.1",
        "package/dist/css/tabler.min.css",
        "MIT",
    ),
    "static/vendor/uPlot.iife.min.js": ("uplot", "1.6.32", "package/dist/uPlot.iife.min.js", "MIT"),
    "static/vendor/uPlot.min.css": ("uplot", "1.6.32", "package/dist/uPlot.min.css", "MIT"),
    "tests/vendor/axe.min.js": ("axe-core", "4.14.1", "package/axe.min.js", "MPL-2.0"),
}
ICONS = ("@tabler/icons", "3.51.0", "MIT")
SPRITE = "static/vendor/icons.svg"


def main() -> None:
    """Fetch the assets, write the sprite, and write the manifest."""
    manifest = {}
    with tempfile.TemporaryDirectory() as folder:
        for target, (package, version, member, licence) in ASSETS.items():
            content = _read(_package(package, version, folder), member)
            # Source maps are not vendored, so that a browser would request them in vain.
            content = re.sub(rb"/[*/][#@] sourceMappingURL=\S+( \*/)?\s*$", b"", content)
            (ROOT / target).write_bytes(content)
            manifest[target] = _entry(package, version, member, licence, content)
        package, version, licence = ICONS
        sprite = _sprite(_package(package, version, folder))
        (ROOT / SPRITE).write_bytes(sprite)
        manifest[SPRITE] = _entry(
            package, version, "package/icons/{outline,filled}/*.svg, those used", licence, sprite
        )
    (ROOT / "static/vendor/vendor.json").write_text(json.dumps(manifest, indent=2) + "\n")


def icons_used() -> list[str]:
    """Return the names of the icons in templates: ``icon("name")``."""
    pages = (ROOT / "templates").rglob("*.html")
    found = {
        name
        for page in pages
        for name in re.findall(r"""icon=?\(?["']([a-z0-9-]+)["']""", page.read_text())
    }
    return sorted(found)


def _package(package: str, version: str, folder: str) -> tarfile.TarFile:
    packed = subprocess.run(
        ["npm", "pack", "--silent", f"{package}@{version}"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return tarfile.open(Path(folder) / packed.stdout.decode().strip().splitlines()[-1])


def _read(package: tarfile.TarFile, member: str) -> bytes:
    file = package.extractfile(member)
    assert file is not None, f"{member} is no file of the package"
    return file.read()


def _sprite(package: tarfile.TarFile) -> bytes:
    symbols = []
    for name in icons_used():
        svg = _read(package, f"package/icons/outline/{name}.svg").decode()
        inner = re.sub(r"(?s)^.*?<svg[^>]*>(.*)</svg>\s*$", r"\1", svg).strip()
        symbols.append(
            f'<symbol id="{name}" viewBox="0 0 24 24" fill="none" stroke="currentColor"'
            ' stroke-width="2" stroke-linecap="round" stroke-linejoin="round">'
            f"{' '.join(inner.split())}</symbol>"
        )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"
    ).encode()


def _entry(package: str, version: str, member: str, licence: str, content: bytes) -> dict[str, str]:
    return {
        "package": package,
        "version": version,
        "source": f"npm package {package}, {member}",
        "licence": licence,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


if __name__ == "__main__":
    main()
