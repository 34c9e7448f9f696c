"""The memory of a process and its children, once or sampled."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """Return the ids of the process and all its descendants."""
    children: list[int] = []
    # Each thread lists the children that it started.
    for each in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            children += map(int, each.read_text().split())
    return [pid, *(each for child in children for each in family(child))]


def memory_of(pid: int) -> float:
    """Return the private memory of the process and its descendants, in MB.

    Shared pages of program files are not counted: the system reclaims them when needed.
    """
    pages = 0
    for each in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            resident, shared = Path(f"/proc/{each}/statm").read_text().split()[1:3]
            pages += int(resident) - int(shared)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def sampled(pid: int, every: float) -> Iterator[list[float]]:
    """Sample the memory every ``every`` seconds; yield the growing list, in MB."""
    seen, ended = [memory_of(pid)], threading.Event()

    def sample() -> None:
        while not ended.wait(every):
            seen.append(memory_of(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
