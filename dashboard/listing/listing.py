"""List, search, filter, sort and page: one mechanism, used by every list, page and JSON and CSV alike.

A ``Listing`` declares what can be asked of a list; ``asked`` turns a request's parameters into a checked query; ``Listing.page``
answers it.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, String, and_, distinct, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.base import ExecutableOption

from dashboard.core.cache import cached
from dashboard.core.database import db
from dashboard.core.email_addresses import canonical
from dashboard.core.search_text import FoldedText
from dashboard.core.text import comparable
from dashboard.listing.query import Counted, ListQuery, Page, read_query

Item = Callable[[Any], dict[str, Any]]

V = TypeVar("V")
# A mapped column or an expression of them: both can be compared, counted and sorted by.
Column = ColumnElement[Any] | InstrumentedAttribute[Any]


@dataclass(frozen=True)
class Filter:
    """One filter: the column it compares, its label, and what it may be (None: any word; ``number``: a whole number).

    ``hides``: values that are left out unless they are asked for. ``through`` joins another table's column to the list's rows:
    a row matches if any row behind it does. ``same_as``: the column that the list is sorted by instead, and how to say the same
    there, so that one index finds and sorts. ``known``: of a filter with ``through``, a column that has all its values.
    """

    column: Column
    label: str
    choices: tuple[str, ...] | None = None
    number: bool = False
    counted: bool = True
    hides: tuple[str, ...] = ()
    through: ColumnElement[bool] | None = None
    same_as: tuple[Column, Callable[[str], Any]] | None = None
    known: Column | None = None

    def meant(self, value: str, there: Iterable[str | None]) -> list[str]:
        """The values that somebody means who asks for this one: of a free word all its spellings that are ``there``."""
        if self.choices is not None or self.number:
            return [value]
        wanted = _spellings(comparable(value))
        return [each for each in there if each is not None and comparable(each) in wanted]

    def matches(self, values: Sequence[str]) -> ColumnElement[bool]:
        """The condition that a row has one of these values."""
        if self.same_as is not None:
            same: ColumnElement[bool] = self.same_as[0] == self.same_as[1](values[0])
            return same
        wanted = [int(value) if self.number else value for value in values]
        equal = self.column == wanted[0] if len(wanted) == 1 else self.column.in_(wanted)
        if self.through is None:
            return equal
        return exists().where(self.through, equal).correlate_except(self.column.table)


@dataclass(frozen=True)
class Newest:
    """A column of a sort that goes the other way than the rest."""

    column: Column


@dataclass(frozen=True)
class Outer:
    """A column of a sort whose table is outer-joined: where there is no row of it, that is older than everything."""

    column: Column


@dataclass(frozen=True)
class Choice:
    """A filter's value with how many rows it would give beside the other filters; ``chosen``: it is what was asked for."""

    value: str
    count: int
    chosen: bool = False


@dataclass(frozen=True)
class Listing:
    """A list: where its rows come from and what may be asked of it.

    ``search`` are columns looked through for every word of ``q``: kept texts (``core.search_text``) or our own words in small
    letters; ``exact`` are id columns that must equal it;
    ``indexed`` narrows a search to the rows that an index finds: to begin with these or, where its second argument says so, to
    look each row up among them as the list is gone through in its order. ``sorts``: columns in order, the last of which tell
    all rows apart; ``-`` in front of a sort's name turns every one of them round, so that one index serves both. ``counts``:
    the values of the counted filters and how many rows have them, where that is kept. ``name`` is set where what was counted
    stays true until the snapshot changes (``fleet.counters``). ``unseen``: loader options that leave out what only scripts get.
    """

    statement: Select[*tuple[Any, ...]]
    search: tuple[Column, ...] = ()
    exact: tuple[Column, ...] = ()
    indexed: Callable[[Sequence[str], bool], ColumnElement[bool]] | None = None
    filters: Mapping[str, Filter] = field(default_factory=dict)
    sorts: Mapping[str, tuple[Column | Newest | Outer, ...]] = field(default_factory=dict)
    default_sort: str = ""
    counts: Select[*tuple[Any, ...]] | None = None
    name: str = ""
    unseen: tuple[ExecutableOption, ...] = ()

    def read(self, args: Mapping[str, str]) -> ListQuery:
        """A request's parameters as a query; raises as ``read_query`` does."""
        return read_query(args, self.sorts, self.filters)

    def page(self, query: ListQuery, *, whole: bool = False) -> Page[Any]:
        """The rows asked for, with what people see of them; ``whole``: with what scripts get as well.

        Raises:
            NoSuchPage: the page lies past the end.
        """
        names, cube = counted = self._counted(query)
        meant = self._meant(query, counted)
        wanted = [(at, name, meant.get(name)) for at, name in enumerate(names)]
        total = sum(count for values, count in cube.items() if self._agrees(values, wanted))
        start = (query.page - 1) * query.per_page
        end = min(start + query.per_page, total)
        # From whichever end is nearer: the last page costs what the first does.
        backwards = start + end > total
        by_words = not self._comes_soon(query, meant, total, total - start if backwards else end)
        ordered = self._narrowed(query.q, meant, by_words=by_words).order_by(
            *self._order(query, backwards=backwards)
        )
        if not whole:
            ordered = ordered.options(*self.unseen)
        rows = list(
            db.session.execute(
                ordered.limit(max(0, end - start)).offset(total - end if backwards else start)
            )
        )
        if backwards:
            rows.reverse()
        items = [row[0] for row in rows] if len(ordered.column_descriptions) == 1 else rows
        return Page(items, total, query, counted)

    def all(self, query: ListQuery, most: int) -> list[Any]:
        """Every row that matches, on one page as it were, at most ``most``: for CSV."""
        return self.page(replace(query, page=1, per_page=most), whole=True).items

    def choices(self, page: Page[Any]) -> dict[str, list[Choice]]:
        """For each counted filter its values and how many rows each has, beside the other filters as they are set."""
        query, (names, cube) = page.query, page.counted
        meant = self._meant(query, page.counted)
        counted: dict[str, list[Choice]] = {}
        for name, each in self.filters.items():
            if not each.counted:
                continue
            if each.through is not None:
                found = self._remembered(
                    ("through", name, query.q, *sorted(query.filters.items())),
                    partial(self._through, name, query, meant),
                )
            else:
                found = self._along(names.index(name), names, cube, meant)
            if each.choices is None:
                found = _one_spelling_each(found)
            wanted = comparable(query.filters.get(name, "")) or None
            order = each.choices or sorted(found, key=comparable)
            counted[name] = [
                Choice(value, found[value], comparable(value) == wanted)
                for value in order
                if value in found
            ]
        return counted

    def _meant(self, query: ListQuery, counted: Counted) -> dict[str, list[str]]:
        """The filters that are set, each with all values of rows that are meant by what was typed."""
        names, cube = counted
        meant = {}
        for name, value in query.filters.items():
            each = self.filters[name]
            there: Iterable[str | None] = ()
            if name in names:
                there = {values[names.index(name)] for values in cube}
            elif each.known is not None:
                there = self._remembered(("known", name), partial(_values_of, each.known))
            meant[name] = each.meant(value, there)
        return meant

    def _along(
        self,
        place: int,
        names: Sequence[str],
        cube: Mapping[tuple[str | None, ...], int],
        meant: Mapping[str, Sequence[str]],
    ) -> dict[str, int]:
        """How many rows have each value of one filter, beside the others as they are set."""
        others = [(at, name, meant.get(name)) for at, name in enumerate(names) if at != place]
        found: dict[str, int] = {}
        for values, count in cube.items():
            value = values[place]
            if value is not None and self._agrees(values, others):
                found[value] = found.get(value, 0) + count
        return found

    def _counted(self, query: ListQuery) -> Counted:
        """The counted filters' names, and how many rows have which values of them, whatever these filters are set to."""
        names = [
            name for name, each in self.filters.items() if each.counted and each.through is None
        ]
        others = {name: value for name, value in query.filters.items() if name not in names}
        return names, self._remembered(
            ("cube", query.q, *sorted(others.items())), lambda: self._cube(names, query.q, others)
        )

    def _comes_soon(
        self, query: ListQuery, meant: Mapping[str, Sequence[str]], total: int, reach: int
    ) -> bool:
        """Whether so many rows match a search that the list, gone through in its order, soon gives ``reach`` of them.

        Sooner, that is, than to fetch and sort all that the index of words has.
        """
        if not query.q or self.indexed is None or not total:
            return False
        names, cube = self._counted(replace(query, q=""))
        wanted = [(at, name, meant.get(name)) for at, name in enumerate(names)]
        rows = sum(count for values, count in cube.items() if self._agrees(values, wanted))
        return reach * rows < total * total

    def _cube(
        self, names: Sequence[str], q: str, others: Mapping[str, str]
    ) -> dict[tuple[str | None, ...], int]:
        if self.counts is not None and not q and not others:
            return {tuple(values): count for *values, count in db.session.execute(self.counts)}
        columns = [self.filters[name].column for name in names]
        meant = self._meant(ListQuery(q, others), ([], {}))
        counting = (
            self._narrowed(q, meant, all_values=True)
            .order_by(None)
            .with_only_columns(*columns, func.count())
        )
        counted: dict[tuple[str | None, ...], int] = {}
        for *values, count in db.session.execute(counting.group_by(*columns)):
            counted[tuple(None if value is None else str(value) for value in values)] = count
        return counted

    def _agrees(
        self, values: Sequence[str | None], wanted: Sequence[tuple[int, str, Sequence[str] | None]]
    ) -> bool:
        """Whether rows of these values are among those asked for. ``wanted``: filters' places, names, what is meant."""
        for place, name, want in wanted:
            if (
                (values[place] in self.filters[name].hides)
                if want is None
                else (values[place] not in want)
            ):
                return False
        return True

    def _through(
        self, name: str, query: ListQuery, meant: Mapping[str, Sequence[str]]
    ) -> dict[str, int]:
        """How many rows have something with each value of a filter behind them."""
        each = self.filters[name]
        assert each.through is not None
        others = {key: values for key, values in meant.items() if key != name}
        rows = self._narrowed(query.q, others).order_by(None).join(each.column.table, each.through)
        last = self.sorts[self.default_sort.removeprefix("-")][-1]
        assert not isinstance(last, (Newest, Outer))
        counting = rows.with_only_columns(each.column, func.count(distinct(last))).group_by(
            each.column
        )
        return {
            str(value): count for value, count in db.session.execute(counting) if value is not None
        }

    def _remembered(self, key: Hashable, work_out: Callable[[], V]) -> V:
        return cached((self.name, key), work_out) if self.name else work_out()

    def _narrowed(
        self,
        q: str,
        meant: Mapping[str, Sequence[str]],
        *,
        by_words: bool = True,
        all_values: bool = False,
    ) -> Select[*tuple[Any, ...]]:
        """The rows that match; ``by_words``: begin with what the index of words has; ``all_values``: nothing is hidden."""
        statement = self.statement
        for name, values in meant.items():
            statement = statement.where(self.filters[name].matches(values))
        for name, each in self.filters.items():
            if each.hides and name not in meant and not all_values:
                statement = statement.where(each.column.not_in(each.hides))
        if asked := comparable(q):
            # Only where it can be an id: with an "or" for each search, no index of the words would be of use.
            whole = [column == int(asked) for column in self.exact] if _is_id(asked) else []
            words = {word: _spellings(word) for word in asked.split()}
            found = [
                or_(
                    *(
                        column.contains(each, autoescape=True)
                        for each in spellings
                        for column in self.search
                    )
                )
                for spellings in words.values()
            ]
            statement = statement.where(or_(and_(*found), *whole))
            if self.indexed is not None:
                plain = [word for word, spellings in words.items() if len(spellings) == 1]
                statement = statement.where(or_(self.indexed(plain, not by_words), *whole))
        return statement

    def _order(self, query: ListQuery, *, backwards: bool) -> list[ColumnElement[Any]]:
        """What never happened is older than everything: first in ascending order, last in descending."""
        sort = query.sort or self.default_sort
        down = sort.startswith("-") != backwards
        is_postgresql = db.engine.dialect.name == "postgresql"
        order: list[ColumnElement[Any]] = []
        for column in self.sorts[sort.removeprefix("-")]:
            newest_first = isinstance(column, Newest)
            plain = column.column if isinstance(column, (Newest, Outer)) else column
            sorted_by: ColumnElement[Any] | InstrumentedAttribute[Any] = plain
            if (
                is_postgresql
                and isinstance(plain.type, String)
                and not isinstance(plain.type, FoldedText)
            ):
                # As SQLite sorts, whatever the locale of the database.
                sorted_by = plain.collate("C")
            one = sorted_by.desc() if down != newest_first else sorted_by.asc()
            if isinstance(column, Outer) or getattr(plain, "nullable", False):
                # Said only where it matters: PostgreSQL looks no further than the words to see that an index serves.
                one = one.nulls_last() if down != newest_first else one.nulls_first()
            order.append(one)
        return order


def _values_of(column: Column) -> list[str | None]:
    return list(db.session.scalars(select(column).distinct()))


def _one_spelling_each(found: Mapping[str, int]) -> dict[str, int]:
    """Values with their counts; of those that are one but for their spelling, the first with the count of all."""
    alike: dict[str, list[str]] = defaultdict(list)
    for value in sorted(found):
        alike[comparable(value)].append(value)
    return {values[0]: sum(found[value] for value in values) for values in alike.values()}


def _spellings(word: str) -> list[str]:
    """What to look for where somebody looks for a word: of an address, also as it is kept (its domain in Unicode)."""
    return list(dict.fromkeys([word, comparable(canonical(word))])) if "@" in word else [word]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def shown_time(value: datetime | None) -> str | None:
    """A time as scripts see it: ISO, in UTC, with a Z."""
    return value.isoformat().replace("+00:00", "Z") if value else None
