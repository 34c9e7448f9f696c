"""Which version of the console this is: of the tag or commit that it was built from, as pip has it."""

from importlib.metadata import version
from typing import Final

VERSION: Final = version("partner-console")
