"""A clock that a test moves."""

from datetime import UTC, datetime, timedelta


class Clock:
    """A clock that a test moves; it starts now, since the sandbox uses the real time."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def move(self, **by: float) -> None:
        self.ahead += timedelta(**by)
