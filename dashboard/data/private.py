"""The console's own folder and files, which nobody but its user may read, whatever the umask of who starts it."""

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


def make_private(folder: Path, *files: Path) -> None:
    """Make a folder (mode 0700) and files (0600) where they are missing, and set these modes where they are others.

    SQLite gives the files beside its own (``-wal``, ``-shm``, ``-journal``) the mode of that one.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _set_mode(folder, 0o700)
    for each in files:
        if each.parent.is_dir():
            os.close(os.open(each, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        for path in (each, *each.parent.glob(f"{each.name}-*")):
            if path.is_file():
                _set_mode(path, 0o600)


def _set_mode(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o777 == mode:
        return
    try:
        path.chmod(mode)
    except OSError as error:
        # Of a volume that belongs to another user: the console can run, and who operates it should know.
        log.warning("%s may be read by others of this machine: set its mode to %o (%s).", path, mode, error.strerror)
