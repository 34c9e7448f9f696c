"""The version of the console, from the installed package: its tag or commit."""

from importlib.metadata import version
from typing import Final

VERSION: Final = version("partner-console")
