"""The queues, and how many threads each worker has for them."""

from typing import Final

# Threads of a worker for each queue. None: set on the command line.
QUEUES: Final[dict[str, int | None]] = {
    "jobs": None,  # short tasks that users wait for
    "readings": 1,  # the fleet refresh
    "exports": 2,  # whole tables, which take minutes
    "questions": 4,  # SQL
    "pulls": 1,  # copies of tables
    "deliveries": 2,  # new connections, for the partner's data hook
}
