"""Folders of the project."""

from pathlib import Path

HERE = Path(__file__).parent


# In a checkout the pages stand beside the package, in a wheel inside it.
ASSETS = HERE if (HERE / "templates").is_dir() else HERE.parent
