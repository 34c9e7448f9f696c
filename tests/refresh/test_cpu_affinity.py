"""The core on which accounts are read."""

import os
import subprocess
import sys
from threading import Thread

from dashboard.refresh import cpu_affinity

# Other tests also read, in other processes.
CLAIMS = f"test-{os.getpid()}"
SAYS_ITS_CORES = """
import os, sys
from dashboard.refresh import cpu_affinity
with cpu_affinity.run_on_one_core(sys.argv[1]):
    print(sorted(os.sched_getaffinity(0)))
"""


def test_threads_begun_meanwhile_share_the_core_and_afterwards_any_will_do() -> None:
    before, seen = os.sched_getaffinity(0), []
    with cpu_affinity.run_on_one_core(CLAIMS):
        mine = os.sched_getaffinity(0)
        thread = Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
        thread.start()
        thread.join(10)
    assert len(mine) == 1
    assert seen == [mine]
    assert os.sched_getaffinity(0) == before


def test_a_second_process_that_reads_takes_another_core_where_there_is_one() -> None:
    cores = sorted(os.sched_getaffinity(0))
    with cpu_affinity.run_on_one_core(CLAIMS):
        (mine,) = os.sched_getaffinity(0)
        # Each process claims a core by itself: a child would inherit its parent's.
        os.sched_setaffinity(0, cores)
        command = [sys.executable, "-c", SAYS_ITS_CORES, CLAIMS]
        other = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    remaining = [each for each in cores if each != mine]
    assert other.stdout.strip() in (
        [str([each]) for each in remaining] if remaining else [str(cores)]
    )
