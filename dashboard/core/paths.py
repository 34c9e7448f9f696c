"""Folders of the project."""

from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parent.parent
# In a checkout the templates are next to the package, in a wheel inside it.
ASSETS: Final = PACKAGE if (PACKAGE / "templates").is_dir() else PACKAGE.parent
