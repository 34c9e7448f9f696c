"""One core of the machine for threads that read.

They take turns with Python's lock and never compute at once; where each turn is another core's, waking that core takes longer
than the turn itself.
"""

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def run_on_one_core(claims: str = "partner-console") -> Iterator[None]:
    """Keep this thread, and those that it begins meanwhile, on a core where no other process of this machine reads.

    Without effect where all are taken or the system has no such thing. A claim is a name of Linux's own that goes with its
    process, however that ends. Two containers do not see each other's, so the first core tried is any. ``claims``: what the
    names begin with, the same for all who keep out of each other's way.
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
