"""Lists with search, filters, sorts and pages, for HTML, JSON and CSV.

A ``Listing`` declares the list, ``listing.query`` reads a request's parameters, and
``Listing.page`` returns one page of the result.
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
# A mapped column or an expression; both can be compared, counted and sorted.
Column = ColumnElement[Any] | InstrumentedAttribute[Any]


@dataclass(frozen=True)
class Filter:
    """A filter of a list. ``choices``: the allowed values; None: any text.

    ``number``: the value is a whole number. ``counted``: the page shows the number of rows for each
    value. ``hides``: values that are left out unless the filter is set. ``through``: joins another
    table's column to the list; a row matches if any joined row does. ``same_as``: an equivalent
    column of the list's sort with a conversion of the value, so that one index filters and sorts.
    ``known``: for a filter with ``through``, a column with all its values.
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

    def meant(self, value: str, existing: Iterable[str | None]) -> list[str]:
        """Return the existing values that a filter's text means, in all spellings."""
        if self.choices is not None or self.number:
            return [value]
        wanted = _spellings(comparable(value))
        return [each for each in existing if each is not None and comparable(each) in wanted]

    def matches(self, values: Sequence[str]) -> ColumnElement[bool]:
        """Return the condition that a row has one of these values."""
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
    """A column that sorts in the opposite direction."""

    column: Column


@dataclass(frozen=True)
class Outer:
    """A sort column of an outer-joined table: a missing row sorts as the oldest."""

    column: Column


@dataclass(frozen=True)
class Choice:
    """A filter's value with its number of rows under the other filters.

    ``chosen``: the query has this value.
    """

    value: str
    count: int
    chosen: bool = False


@dataclass(frozen=True)
class Listing:
    """A list: the statement of its rows, and how they can be searched, filtered and sorted.

    ``search``: columns in which each word of ``q`` is searched, folded (``core.search_text``) or
    lower-case. ``exact``: id columns that may equal ``q``. ``indexed``: condition that narrows a
    search with the index of words; with True as second argument, in a form that looks each row up
    while the list is read in its order. ``sorts``: columns of each sort; the last ones make the
    order unique. A leading ``-`` in a sort's name reverses all of them, so one index serves both.
    ``counts``: numbers of rows by the values of the counted filters, from a table of counters.
    ``name``: set if counts are cached until the snapshot changes (``fleet.counters``). ``unseen``:
    loader options that leave out columns of JSON and CSV only.
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
        """Return the query of a request's parameters; raises like ``read_query``."""
        return read_query(args, self.sorts, self.filters)

    def page(self, query: ListQuery, *, full: bool = False) -> Page[Any]:
        """Return one page of rows. ``full``: load also the columns that only JSON and CSV have.

        Raises:
            NoSuchPage: The page is past the end.
        """
        names, cube = counted = self._counted(query)
        meant = self._meant(query, counted)
        wanted = [(at, name, meant.get(name)) for at, name in enumerate(names)]
        total = sum(count for values, count in cube.items() if self._agrees(values, wanted))
        start = (query.page - 1) * query.per_page
        end = min(start + query.per_page, total)
        # Reading from the nearer end makes the last page as fast as the first.
        backwards = start + end > total
        by_words = not self._is_scan_faster(
            query, meant, total, total - start if backwards else end
        )
        ordered = self._narrowed(query.q, meant, by_words=by_words).order_by(
            *self._order(query, backwards=backwards)
        )
        if not full:
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
        """Return all matching rows, at most ``most``, with all columns."""
        return self.page(replace(query, page=1, per_page=most), full=True).items

    def choices(self, page: Page[Any]) -> dict[str, list[Choice]]:
        """Return the values of each counted filter with their numbers of rows.

        The other filters stay as they are set.
        """
        query, (names, cube) = page.query, page.counted
        meant = self._meant(query, page.counted)
        counted: dict[str, list[Choice]] = {}
        for name, each in self.filters.items():
            if not each.counted:
                continue
            if each.through is not None:
                found = self._cached(
                    ("through", name, query.q, *sorted(query.filters.items())),
                    partial(self._through, name, query, meant),
                )
            else:
                found = self._count_values(names.index(name), names, cube, meant)
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
        """Return the filters that are set, each with all existing values that it means."""
        names, cube = counted
        meant = {}
        for name, value in query.filters.items():
            each = self.filters[name]
            existing: Iterable[str | None] = ()
            if name in names:
                existing = {values[names.index(name)] for values in cube}
            elif each.known is not None:
                existing = self._cached(("known", name), partial(_values_of, each.known))
            meant[name] = each.meant(value, existing)
        return meant

    def _count_values(
        self,
        index: int,
        names: Sequence[str],
        cube: Mapping[tuple[str | None, ...], int],
        meant: Mapping[str, Sequence[str]],
    ) -> dict[str, int]:
        """Return the number of rows by value of one filter, under the other filters."""
        others = [(at, name, meant.get(name)) for at, name in enumerate(names) if at != index]
        found: dict[str, int] = {}
        for values, count in cube.items():
            value = values[index]
            if value is not None and self._agrees(values, others):
                found[value] = found.get(value, 0) + count
        return found

    def _counted(self, query: ListQuery) -> Counted:
        """Return the counted filters' names, and numbers of rows by their values.

        Ignores what these filters are set to.
        """
        names = [
            name for name, each in self.filters.items() if each.counted and each.through is None
        ]
        others = {name: value for name, value in query.filters.items() if name not in names}
        return names, self._cached(
            ("cube", query.q, *sorted(others.items())), lambda: self._cube(names, query.q, others)
        )

    def _is_scan_faster(
        self, query: ListQuery, meant: Mapping[str, Sequence[str]], total: int, reach: int
    ) -> bool:
        """Return whether reading the list in its order is faster than the index of words.

        It is if so many rows match that ``reach`` of them come early: the index returns all
        matches, which must then be sorted.
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
        """Return whether rows with these values match. ``wanted``: index, name, allowed values."""
        for index, name, want in wanted:
            if (
                (values[index] in self.filters[name].hides)
                if want is None
                else (values[index] not in want)
            ):
                return False
        return True

    def _through(
        self, name: str, query: ListQuery, meant: Mapping[str, Sequence[str]]
    ) -> dict[str, int]:
        """Return the number of rows by value of a filter with ``through``."""
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

    def _cached(self, key: Hashable, compute: Callable[[], V]) -> V:
        return cached((self.name, key), compute) if self.name else compute()

    def _narrowed(
        self,
        q: str,
        meant: Mapping[str, Sequence[str]],
        *,
        by_words: bool = True,
        all_values: bool = False,
    ) -> Select[*tuple[Any, ...]]:
        """Return the statement of matching rows.

        ``by_words``: start from the index of words; ``all_values``: include hidden values.
        """
        statement = self.statement
        for name, values in meant.items():
            statement = statement.where(self.filters[name].matches(values))
        for name, each in self.filters.items():
            if each.hides and name not in meant and not all_values:
                statement = statement.where(each.column.not_in(each.hides))
        if text := comparable(q):
            # Only for ids: an OR in each search would make the index of words useless.
            ids = [column == int(text) for column in self.exact] if _is_id(text) else []
            words = {word: _spellings(word) for word in text.split()}
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
            statement = statement.where(or_(and_(*found), *ids))
            if self.indexed is not None:
                plain = [word for word, spellings in words.items() if len(spellings) == 1]
                statement = statement.where(or_(self.indexed(plain, not by_words), *ids))
        return statement

    def _order(self, query: ListQuery, *, backwards: bool) -> list[ColumnElement[Any]]:
        """Return the sort expressions. NULL is the oldest: first ascending, last descending."""
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
                # The same order as on SQLite, independent of the database's locale.
                sorted_by = plain.collate("C")
            one = sorted_by.desc() if down != newest_first else sorted_by.asc()
            if isinstance(column, Outer) or getattr(plain, "nullable", False):
                # Only for nullable columns: else PostgreSQL would not use a plain index.
                one = one.nulls_last() if down != newest_first else one.nulls_first()
            order.append(one)
        return order


def _values_of(column: Column) -> list[str | None]:
    return list(db.session.scalars(select(column).distinct()))


def _one_spelling_each(found: Mapping[str, int]) -> dict[str, int]:
    """Merge values that differ only in spelling: the first one with the sum of counts."""
    alike: dict[str, list[str]] = defaultdict(list)
    for value in sorted(found):
        alike[comparable(value)].append(value)
    return {values[0]: sum(found[value] for value in values) for values in alike.values()}


def _spellings(word: str) -> list[str]:
    """Return the spellings to search for: of an e-mail address also its stored form.

    Stored addresses have their domain in Unicode.
    """
    return list(dict.fromkeys([word, comparable(canonical(word))])) if "@" in word else [word]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


def shown_time(value: datetime | None) -> str | None:
    """Return a time for JSON and CSV: ISO 8601 in UTC, with a Z."""
    return value.isoformat().replace("+00:00", "Z") if value else None
