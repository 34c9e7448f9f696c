"""Peliqan's answers as typed, frozen objects: parsed once, here, and never passed on as raw JSON.

Tolerant of what it does not know (unknown fields are dropped, ids may come as strings), precise about what it needs (a
missing or mistyped required field is a ``BrokenAnswer`` that names the field). All times are aware and in UTC.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from dashboard.peliqan.loads import read_count, table_loads
from dashboard.peliqan.statuses import (
    Severity,
    is_saltedge,
    outcome_of_run,
    run_is_over,
    severity_of_health,
    severity_of_run,
)


def _utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError(
            "is no time in UTC"
        ) from None  # 1 January of the year 1, somewhere in the east


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _not_a_boolean(value: object) -> object:
    """JSON's booleans are integers to Python: an id of ``true`` is a broken answer, not account 1."""
    return "true or false" if isinstance(value, bool) else value


def _unsaid_beyond(bits: int) -> BeforeValidator:
    """A number that no column could hold is as good as none; it must not make a whole account unreadable."""
    return BeforeValidator(
        lambda value: None if isinstance(value, int) and abs(value) >= 2**bits else value
    )


def _places(value: object) -> object:
    """Decimal places that a number can have; None for what nobody could mean."""
    return value if type(value) is int and 0 <= value <= 30 else None


def _none_as_empty(value: object) -> object:
    return "" if value is None else value


def _none_if_unreadable(value: object, read: ValidatorFunctionWrapHandler) -> Any:
    """What is only assumed of an answer must not make it a broken one."""
    try:
        return read(value)
    except ValidationError:
        return None


def _empty_if_unreadable(value: object, read: ValidatorFunctionWrapHandler) -> Any:
    """Read a list that the console can do without; empty where it is not as expected."""
    found = _none_if_unreadable(value, read)
    return () if found is None else found


Id = Annotated[int, BeforeValidator(_not_a_boolean), Field(ge=0, lt=2**63)]
Small = Annotated[int | None, _unsaid_beyond(31)]
Text = Annotated[str | None, BeforeValidator(_number_as_text)]
Word = Annotated[str, BeforeValidator(_none_as_empty)]
# What is not needed to show a connection must not make it unreadable.
OptionalWord = Annotated[
    str, BeforeValidator(lambda value: value if isinstance(value, str) else "")
]
Time = Annotated[datetime, AfterValidator(_utc)]
AssumedTime = Annotated[
    datetime | None,
    AfterValidator(lambda value: value and _utc(value)),
    WrapValidator(_none_if_unreadable),
]


class Answer(BaseModel):
    """What every parsed answer has in common: a null is as good as a missing field, so the next alias is looked at.

    An alias that Peliqan uses stands before our own name: an unknown field called as ours must not take its place.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if item is not None}
        return value


class Account(Answer):
    """A sub-account: one customer of the partner. ``external_id`` is the partner's own id for it."""

    id: Id
    name: Word = Field("", validation_alias=AliasChoices("name", "company_name"))
    external_id: Text = None


class AccountPage(Answer):
    """One page of sub-accounts and whether there is another."""

    accounts: tuple[Account, ...]
    more: bool


class Connection(Answer):
    """A connection ("server"). ``run_interval`` in seconds, None where Peliqan names none; ``status`` as Peliqan says it.

    ``consent_expires_at``: when a bank's consent ends, where the API tells (assumption). ``schema_name``: the warehouse's schema
    that it loads into. Its id comes as ``connection_id`` in some answers, as Peliqan's own health application reads it.
    """

    id: Id = Field(validation_alias=AliasChoices("id", "connection_id"))
    name: Word = ""
    connector: Word = Field("", validation_alias=AliasChoices("server_type", "connector"))
    status: Word = Field("", validation_alias=AliasChoices("health_status", "status"))
    is_warehouse: bool = Field(
        False, validation_alias=AliasChoices("is_datawarehouse", "is_warehouse")
    )
    is_target: bool = False
    target_id: Id | None = Field(None, validation_alias=AliasChoices("target", "target_id"))
    schema_name: OptionalWord = Field(
        "", validation_alias=AliasPath("target_schema", "schema_name")
    )
    run_interval: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    scheduler_off: bool = Field(
        False, validation_alias=AliasChoices("disable_scheduler", "scheduler_off")
    )
    auth_type: Text = None
    consent_expires_at: AssumedTime = None

    @property
    def severity(self) -> Severity:
        """How much this connection needs a person, by its status alone."""
        return severity_of_health(self.status)

    @property
    def is_saltedge(self) -> bool:
        """Whether its bank can be asked to refresh (assumption: the connector's name says ``saltedge``)."""
        return is_saltedge(self.connector)

    @property
    def may_reauthorise(self) -> bool:
        """Whether to offer reauthorisation: OAuth where the API names the kind, every source where it does not."""
        if self.is_warehouse or self.is_target:
            return False
        return self.auth_type is None or "oauth" in self.auth_type.lower()


class TableLoad(Answer):
    """How many records one run loaded into one table; ``records`` is None where the API did not say."""

    name: Word = ""
    records: int | None = None


class Run(Answer):
    """One run of a connection's pipeline."""

    id: Id
    status: Word = ""
    started_at: Time | None = Field(
        None, validation_alias=AliasChoices("timestamp_start", "started_at")
    )
    ended_at: Time | None = Field(None, validation_alias=AliasChoices("timestamp_end", "ended_at"))
    tables: tuple[TableLoad, ...] = ()
    error: str = ""
    source_exit_code: Small = Field(
        None, validation_alias=AliasChoices("status_code_from_source", "source_exit_code")
    )

    @model_validator(mode="before")
    @classmethod
    def _shapes_seen(cls, value: Any) -> Any:
        """The error stands in one of four fields (seen in the SDK); for its tables see ``table_loads``."""
        if not isinstance(value, dict):
            return value
        said = (value.get(key) for key in ("error", "message", "source_error", "status_message"))
        error = next((text if isinstance(text, str) else str(text) for text in said if text), "")
        return {**value, "tables": table_loads(value.get("tables")), "error": error}

    @property
    def severity(self) -> Severity:
        """On the scale of a connection's severity."""
        return severity_of_run(self.status)

    @property
    def is_running(self) -> bool:
        """Whether the API still calls it running."""
        return not run_is_over(self.status)

    @property
    def succeeded(self) -> bool:
        """Whether it wrote data, all of it or a part: COMPLETED_WITH_ERRORS is a success."""
        return outcome_of_run(self.status).is_success

    @property
    def records(self) -> int | None:
        """Records loaded over all tables; None when no table says."""
        counts = [table.records for table in self.tables if table.records is not None]
        return read_count(sum(counts)) if counts else None


class SyncStarted(Answer):
    """The answer to starting a sync: the runs that began, by ``task_id`` and ``run_id``."""

    class Started(Answer):
        """One run that began."""

        run_id: Id | None = Field(None, validation_alias=AliasChoices("pipeline_run_id", "run_id"))
        task_id: Text = None

    runs: tuple[Started, ...] = Field((), validation_alias=AliasChoices("run_data", "runs"))
    task_id: Text = None
    detail: Word = ""
    status: Word = Field("", validation_alias=AliasChoices("health_status", "status"))

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        """``run_data`` may be one object instead of a list, or null (seen in the SDK)."""
        if not isinstance(value, dict):
            return value
        if "run_data" not in value:
            return value
        runs = value["run_data"] or []
        return {**value, "run_data": [runs] if isinstance(runs, dict) else runs}

    @property
    def first_run_id(self) -> int | None:
        """The run to follow."""
        return next((run.run_id for run in self.runs if run.run_id is not None), None)

    @property
    def first_task_id(self) -> str | None:
        """The task to ask the status route about."""
        return next((run.task_id for run in self.runs if run.task_id), self.task_id)


class SyncStatus(Answer):
    """Whether a sync runs. Peliqan's page promises only ``running``; the SDK sees the rest."""

    running: bool
    status: Word = ""
    task_id: Text = None
    run_id: Id | None = Field(None, validation_alias=AliasChoices("run_id", "pipeline_run_id"))
    detail: Word = ""

    @property
    def contradicts_itself(self) -> bool:
        """``running: false`` while the run's status is still RUNNING: a missed liveness ping; ask again (SDK)."""
        return not self.running and not run_is_over(self.status)


class Database(Answer):
    """A database ("application") of one account."""

    id: Id
    name: Word = ""
    type: Word = ""


class Table(Answer):
    """A table of a database."""

    id: Id
    name: Word = ""
    database_id: Id | None = None
    order: Annotated[int, BeforeValidator(lambda value: value if isinstance(value, int) else 0)] = 0


class Option(Answer):
    """A choice of a select field. Several choices of a field can have the same ``value``."""

    id: Id
    value: Word = ""


# Types whose values are of another type, which ``formula_type`` says. A count is a whole number, and says so by its own name.
COMPUTED = frozenset({"formula", "lookup", "rollup"})


class Column(Answer):
    """A table's field, by its ``name`` and Baserow's ``type``. ``decimals``: how many places a number has, where that is said.

    ``formula_type``: what a formula, lookup, rollup or count results in; ``array_formula_type``: the type of its items where that
    is "array" (recorded: Baserow's list of fields says both). Empty for every other type. ``options``: a select field's choices;
    ``duration_format`` such as "h:mm"; ``has_time``: a date's values have a time of day, unless the answer says they do not.
    ``linked``: the column of another table whose values this one shows, where that is known, and ``linked_table_id``: that table.
    For a link_row field it is the title of the table it links to; for a lookup, the field looked up, of which only the name is
    known, and the table of the link it goes through (``AccountApi.columns``).
    """

    id: Id = 0
    name: str
    type: Word = ""
    formula_type: Word = ""
    array_formula_type: Word = ""
    primary: bool = False
    order: Annotated[int, BeforeValidator(lambda value: value if isinstance(value, int) else 0)] = 0
    decimals: Annotated[int | None, BeforeValidator(_places)] = Field(
        None, validation_alias=AliasChoices("number_decimal_places", "decimals")
    )
    options: Annotated[tuple[Option, ...], WrapValidator(_empty_if_unreadable)] = Field(
        (), validation_alias=AliasChoices("select_options", "options")
    )
    duration_format: Word = ""
    has_time: Annotated[bool, BeforeValidator(lambda value: value is not False)] = Field(
        True, validation_alias=AliasChoices("date_include_time", "has_time")
    )
    linked: Annotated["Column | None", WrapValidator(_none_if_unreadable)] = Field(
        None, validation_alias=AliasChoices("link_row_table_primary_field", "linked")
    )
    linked_table_id: Annotated[Id | None, WrapValidator(_none_if_unreadable)] = Field(
        None, validation_alias=AliasChoices("link_row_table_id", "linked_table_id")
    )
    through_field_id: Annotated[Id | None, WrapValidator(_none_if_unreadable)] = None
    target_field_name: Word = ""

    @property
    def result_type(self) -> str:
        """The type of its values: what a formula, lookup or rollup results in, where that is said; else ``type``."""
        return self.formula_type or self.type if self.type in COMPUTED else self.type

    def for_masking(self) -> dict[str, Any]:
        """What masking goes by, as JSON that this class reads again."""
        linked = (
            None if self.linked is None else {"name": self.linked.name, "type": self.linked.type}
        )
        return {
            "name": self.name,
            "type": self.type,
            "linked": linked,
            "linked_table_id": self.linked_table_id,
        }


class RowPage(Answer):
    """One page of rows. ``count`` is of the whole table after filter and search; a page past the end is empty."""

    count: Annotated[int, Field(ge=0)]
    # Taken as they are: nothing is known of what is in them, and a copy of each would be a tenth of the call.
    rows: tuple[InstanceOf[dict[str, Any]], ...] = Field(
        validation_alias=AliasChoices("results", "rows")
    )
    next: str | None = None


class Link(Answer):
    """An address that a person opens in a browser: reauthorisation, bank refresh, invite."""

    url: str = Field(validation_alias=AliasChoices("auth_uri", "url"), repr=False)


class Token(Answer):
    """A token; never shown by ``repr``. The short-lived one goes first: it is the one that may reach a browser."""

    token: str = Field(
        pattern=r"^[!-~]+$",
        repr=False,
        validation_alias=AliasChoices("integration_token", "token", "access_token"),
    )


class Warehouse(Answer):
    """A customer's data warehouse (S: ``server_id``, ``server_name``)."""

    name: str = Field(validation_alias="server_name")
