"""Where the processes of one `dashboard serve` count together."""

import os
import shutil
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

SHARED = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder that goes when the process that made it leaves, and not when one forked from it does."""
    maker, folder = os.getpid(), tempfile.mkdtemp(prefix=prefix)
    try:
        yield Path(folder)
    finally:
        if os.getpid() == maker:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def shared_counts(environ: MutableMapping[str, str] = os.environ) -> Iterator[str]:
    """A folder for the counts of this process and of those that it starts.

    Always one of its own: at a restart without a gap the old processes still count in theirs.
    """
    with temporary_folder("console-metrics-") as folder:
        environ[SHARED] = str(folder)
        try:
            yield str(folder)
        finally:
            environ.pop(SHARED, None)
