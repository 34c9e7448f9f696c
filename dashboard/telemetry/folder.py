"""Where the processes of one `dashboard serve` count together."""

import os
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

SHARED = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def shared_counts(environ: MutableMapping[str, str] = os.environ) -> Iterator[str]:
    """A folder for the counts of this process and of those that it starts, gone with it.

    Always one of its own: at a restart without a gap the old processes still count in theirs.
    """
    with tempfile.TemporaryDirectory(prefix="console-metrics-") as folder:
        environ[SHARED] = folder
        try:
            yield folder
        finally:
            environ.pop(SHARED, None)
