"""Figures, and the table of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Self

HEAD = """| Promise | What | Figure | Wanted | Kept | Middle half | For information |
| --- | --- | ---: | ---: | --- | ---: | --- |"""


@dataclass(frozen=True)
class Figure:
    """One row. ``section``: which promise it belongs to. ``value``: what is held to ``least`` or ``most``.

    ``spread``: the middle half of the values, where there are several. ``detail``: absolute figures, for information.
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
        *,
        least: float | None = None,
        most: float | None = None,
        unit: str = "s",
    ) -> Self:
        """The median of ours over the median of the others', both in seconds and measured in turns."""
        each = sorted(mine / other for mine, other in zip(ours, others, strict=True))
        factor = 1000 if unit == "ms" else 1
        detail = f"{median(ours) * factor:.1f} {unit} beside {median(others) * factor:.1f} {unit}"
        return cls(section, name, median(ours) / median(others), least, most, middle(each), detail)

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None where nothing was promised."""
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
        kept = {True: "yes", False: "no", None: ""}[self.kept]
        value = f"{self.value:.2f}" if self.value < 10 else f"{self.value:.0f}"
        return f"| {self.section} | {self.name} | {value} | {wanted} | {kept} | {spread} | {self.detail} |"


def middle(values: Sequence[float]) -> tuple[float, float] | None:
    """The middle half of some values."""
    if len(values) < 3:
        return None
    low, _, high = quantiles(values, n=4)
    return low, high
