"""Figures and their table."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Self

HEAD = """| Promise | What | Figure | Wanted | Kept | Middle half | For information |
| --- | --- | ---: | ---: | --- | ---: | --- |"""


@dataclass(frozen=True)
class Limits:
    """The promised limits of a figure; None: no limit."""

    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    ``section``: the promise that it belongs to. ``least``, ``most``: the promised limits of
    ``value``. ``spread``: the middle half of the values if there are several. ``detail``: absolute
    figures, for information.
    """

    section: int
    name: str
    value: float
    least: float | None = None
    most: float | None = None
    spread: tuple[float, float] | None = None
    detail: str = ""

    @classmethod
    def ratio(
        cls,
        section: int,
        name: str,
        ours: Sequence[float],
        others: Sequence[float],
        limits: Limits,
    ) -> Self:
        """Return the ratio of two medians, both in seconds and measured in turns."""
        each = sorted(mine / other for mine, other in zip(ours, others, strict=True))
        detail = f"{_time(median(ours))}, compared with {_time(median(others))}"
        value = median(ours) / median(others)
        return cls(section, name, value, limits.least, limits.most, middle(each), detail)

    @property
    def is_met(self) -> bool | None:
        """Whether the promise is kept; None without limits."""
        if self.least is None and self.most is None:
            return None
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )

    @property
    def row(self) -> str:
        """The row of the table."""
        wanted = (
            f"≥ {self.least:g}"
            if self.least is not None
            else f"≤ {self.most:g}"
            if self.most is not None
            else ""
        )
        spread = f"{self.spread[0]:.2f}–{self.spread[1]:.2f}" if self.spread else ""
        kept = {True: "yes", False: "no", None: ""}[self.is_met]
        value = f"{self.value:.2f}" if self.value < 10 else f"{self.value:.0f}"
        cells = (self.section, self.name, value, wanted, kept, spread, self.detail)
        return f"| {' | '.join(map(str, cells))} |"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def middle(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the middle half of some values; None for fewer than three."""
    if len(values) < 3:
        return None
    low, _, high = quantiles(values, n=4)
    return low, high
