"""Folders and files that only the console's user can read, whatever the umask."""

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)


class CannotBeMade(Exception):
    """A folder or file that cannot be created or used. The message says what to do."""


def make_private(folder: Path, *files: Path) -> None:
    """Create a folder (mode 0700) and files (0600), and correct the modes of existing ones.

    SQLite gives its extra files (``-wal``, ``-shm``, ``-journal``) the mode of the database file.
    Existing files are not opened: closing one would drop SQLite's locks of this process
    (https://www.sqlite.org/howtocorrupt.html, section 2.2).

    Raises:
        CannotBeMade: the folder or a file cannot be created, or is not writable.
    """
    try:
        _make(folder, files)
    except OSError as error:
        raise CannotBeMade(_explain(folder, error)) from None


def _explain(folder: Path, error: OSError) -> str:
    path = error.filename or folder
    match error.errno:
        case errno.EEXIST | errno.ENOTDIR:
            return f"{path} is a file, or lies below one: name a folder"
        case errno.EACCES | errno.EPERM:
            return (
                f"{path} may not be made or used by this user: give the folder {folder} to the user"
                " who runs the console"
            )
        case errno.ENOSPC | errno.EDQUOT:
            return f"there is no room left on the disk of {folder}: make room"
        case errno.EROFS:
            return (
                f"{folder} lies on a file system that is mounted read-only: mount it for writing,"
                " or name another folder"
            )
    return f"{path} cannot be made ({error.strerror}): name another folder"


def _make(folder: Path, files: tuple[Path, ...]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _set_mode(folder, 0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "", str(folder))
    for each in files:
        if each.parent.is_dir():
            with suppress(FileExistsError):
                os.close(os.open(each, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        for path in (each, *each.parent.glob(f"{each.name}-*")):
            if path.is_file():
                _set_mode(path, 0o600)


def _set_mode(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o777 == mode:
        return
    try:
        path.chmod(mode)
    except OSError as error:
        # A volume may belong to another user. The console can run; the log informs the operator.
        log.warning(
            "%s may be read by others of this machine: set its mode to %o (%s).",
            path,
            mode,
            error.strerror,
        )
