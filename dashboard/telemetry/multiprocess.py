"""The folder in which all processes of one `dashboard serve` share counters."""

import os
import shutil
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

SHARED = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Create a folder that is deleted when the process that made it leaves, not a fork of it."""
    maker, folder = os.getpid(), tempfile.mkdtemp(prefix=prefix)
    try:
        yield Path(folder)
    finally:
        if os.getpid() == maker:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def shared_counts(environ: MutableMapping[str, str] = os.environ) -> Iterator[str]:
    """Set up a folder for the counters of this process and its children; yield its path.

    Always a new folder: at a restart without a gap, the old processes still use theirs.
    """
    with temporary_folder("console-metrics-") as folder:
        environ[SHARED] = str(folder)
        try:
            yield str(folder)
        finally:
            environ.pop(SHARED, None)
