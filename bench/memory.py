"""How much memory a process holds, with those that it began; once, or all the time."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """The process and all that it began."""
    children: list[int] = []
    # Whichever thread began it.
    for each in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            children += map(int, each.read_text().split())
    return [pid, *(each for child in children for each in family(child))]


def memory_of(pid: int) -> float:
    """Megabytes that the process and those that it began hold for themselves: pages of programs' files are not counted, which the
    system takes back as it likes."""
    pages = 0
    for each in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            resident, shared = Path(f"/proc/{each}/statm").read_text().split()[1:3]
            pages += int(resident) - int(shared)
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def watched(pid: int, every: float) -> Iterator[list[float]]:
    """What it holds, every so many seconds; the first before anything is asked."""
    seen, ended = [memory_of(pid)], threading.Event()

    def look() -> None:
        while not ended.wait(every):
            seen.append(memory_of(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
