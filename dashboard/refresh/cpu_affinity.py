"""Run the threads that read on one core of the machine.

These threads alternate with Python's lock and never compute in parallel. If each turn ran on
another core, waking that core would take longer than the turn itself.
"""

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def run_on_one_core(claims: str = "partner-console") -> Iterator[None]:
    """Keep this thread, and threads it starts, on a core where no other process reads.

    Has no effect if all cores are claimed or the system does not support it. A claim is a name in
    Linux's abstract socket namespace, which disappears with its process. Containers do not see
    each other's claims, so a process tries the cores in random order. ``claims``: the prefix of
    the names, the same for all processes that avoid each other.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
        core = next(
            (
                each
                for each in random.sample(cores, len(cores))
                if _is_mine(claim, f"{claims}-core-{each}")
            ),
            None,
        )
        if core is not None:
            os.sched_setaffinity(0, {core})
        try:
            yield
        finally:
            if core is not None:
                os.sched_setaffinity(0, cores)


def _is_mine(claim: socket.socket, name: str) -> bool:
    try:
        claim.bind(f"\0{name}")
    except OSError:
        return False
    return True
