"""Peliqan's answers as typed, frozen objects, parsed once; raw JSON goes no further.

Unknown fields are dropped, and ids may be strings. A required field that is missing or mistyped is
a ``BrokenAnswer`` that names the field. All times are aware and in UTC.
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
        # 1 January of the year 1 in a zone east of Greenwich.
        raise ValueError("is no time in UTC") from None


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _not_a_boolean(value: object) -> object:
    """Refuse booleans, which Python counts as integers: an id ``true`` is not account 1."""
    return "true or false" if isinstance(value, bool) else value


def _none_beyond(bits: int) -> BeforeValidator:
    """Return a validator that reads a number too large for its column as None.

    One such number must not make a whole account unreadable.
    """
    return BeforeValidator(
        lambda value: None if isinstance(value, int) and abs(value) >= 2**bits else value
    )


def _decimals(value: object) -> object:
    """Return a valid number of decimal places; None for anything else."""
    return value if type(value) is int and 0 <= value <= 30 else None


def _none_as_empty(value: object) -> object:
    return "" if value is None else value


def _none_if_unreadable(value: object, read: ValidatorFunctionWrapHandler) -> Any:
    """Read a field whose shape is an assumption; None if it is not as assumed."""
    try:
        return read(value)
    except ValidationError:
        return None


def _empty_if_unreadable(value: object, read: ValidatorFunctionWrapHandler) -> Any:
    """Read a list that is not required; empty if it is not as expected."""
    found = _none_if_unreadable(value, read)
    return () if found is None else found


Id = Annotated[int, BeforeValidator(_not_a_boolean), Field(ge=0, lt=2**63)]
Small = Annotated[int | None, _none_beyond(31)]
Text = Annotated[str | None, BeforeValidator(_number_as_text)]
Word = Annotated[str, BeforeValidator(_none_as_empty)]
# For fields that a connection's page does not need: another type is read as empty.
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
    """The base of all answers. A null counts as a missing field, so the next alias applies.

    Aliases of Peliqan stand before our own name, so that an unknown field of our name does not
    replace theirs.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _nulls_are_absent(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if item is not None}
        return value


class Account(Answer):
    """A sub-account: one customer of the partner. ``external_id`` is the partner's id."""

    id: Id
    name: Word = Field("", validation_alias=AliasChoices("name", "company_name"))
    external_id: Text = None


class AccountPage(Answer):
    """One page of sub-accounts. ``more``: another page follows."""

    accounts: tuple[Account, ...]
    more: bool


class Connection(Answer):
    """A connection, which Peliqan calls "server".

    ``run_interval`` in seconds; None if Peliqan gives none. ``status`` is Peliqan's word.
    ``consent_expires_at``: when a bank's consent ends (assumption). ``schema_name``: the
    warehouse's schema that the connection loads into. Some answers have ``connection_id`` instead
    of ``id``, as Peliqan's own health application reads it.
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
        """How much this connection needs attention, by its status alone."""
        return severity_of_health(self.status)

    @property
    def is_saltedge(self) -> bool:
        """Whether its bank can be refreshed (assumption: the connector's name has ``saltedge``)."""
        return is_saltedge(self.connector)

    @property
    def may_reauthorise(self) -> bool:
        """Whether to offer reauthorisation: for OAuth, and for sources of unknown type."""
        if self.is_warehouse or self.is_target:
            return False
        return self.auth_type is None or "oauth" in self.auth_type.lower()


class TableLoad(Answer):
    """The number of records that a run loaded into a table; ``records`` None if unknown."""

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
    def _known_shapes(cls, value: Any) -> Any:
        """Read the error from one of four fields (SDK), and tables by ``table_loads``."""
        if not isinstance(value, dict):
            return value
        texts = (value.get(key) for key in ("error", "message", "source_error", "status_message"))
        error = next((text if isinstance(text, str) else str(text) for text in texts if text), "")
        return {**value, "tables": table_loads(value.get("tables")), "error": error}

    @property
    def severity(self) -> Severity:
        """The severity of its status, on the scale of connections."""
        return severity_of_run(self.status)

    @property
    def is_running(self) -> bool:
        """Whether its status means running."""
        return not run_is_over(self.status)

    @property
    def succeeded(self) -> bool:
        """Whether it wrote all data or a part of it: COMPLETED_WITH_ERRORS is a success."""
        return outcome_of_run(self.status).is_success

    @property
    def records(self) -> int | None:
        """The number of records loaded into all tables; None if no table has a count."""
        counts = [table.records for table in self.tables if table.records is not None]
        return read_count(sum(counts)) if counts else None


class SyncStarted(Answer):
    """The answer to starting a sync: the started runs, by ``task_id`` and ``run_id``."""

    class Started(Answer):
        """One started run."""

        run_id: Id | None = Field(None, validation_alias=AliasChoices("pipeline_run_id", "run_id"))
        task_id: Text = None

    runs: tuple[Started, ...] = Field((), validation_alias=AliasChoices("run_data", "runs"))
    task_id: Text = None
    detail: Word = ""
    status: Word = Field("", validation_alias=AliasChoices("health_status", "status"))

    @model_validator(mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        """Accept one object in ``run_data`` instead of a list, or null (seen in the SDK)."""
        if not isinstance(value, dict):
            return value
        if "run_data" not in value:
            return value
        runs = value["run_data"] or []
        return {**value, "run_data": [runs] if isinstance(runs, dict) else runs}

    @property
    def first_run_id(self) -> int | None:
        """The id of the run to follow; None if no run has one."""
        return next((run.run_id for run in self.runs if run.run_id is not None), None)

    @property
    def first_task_id(self) -> str | None:
        """The task id for the status route; None if there is none."""
        return next((run.task_id for run in self.runs if run.task_id), self.task_id)


class SyncStatus(Answer):
    """Whether a sync runs. Peliqan documents only ``running``; the SDK reads the other fields."""

    running: bool
    status: Word = ""
    task_id: Text = None
    run_id: Id | None = Field(None, validation_alias=AliasChoices("run_id", "pipeline_run_id"))
    detail: Word = ""

    @property
    def contradicts_itself(self) -> bool:
        """Whether ``running`` is False but the status runs: a missed ping; poll again (SDK)."""
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


# Types whose values have the type ``formula_type``. A count is not one: it is always a number.
COMPUTED = frozenset({"formula", "lookup", "rollup"})


class Column(Answer):
    """A table's field. ``type`` is Baserow's; ``decimals``: decimal places, None if unknown.

    ``formula_type``: the result type of a formula, lookup, rollup or count;
    ``array_formula_type``: its items' type if that is "array" (recorded: Baserow's list of fields
    has both). Both are empty for other types. ``options``: a select field's choices.
    ``duration_format``: such as "h:mm". ``has_time``: values of a date have a time of day; False
    only if the answer says so. ``linked``: the column of another table whose values this one
    shows, None if unknown; ``linked_table_id``: that table. For a link_row field it is the title
    column of the linked table. For a lookup it is the target field, of which only the name is
    known, and the table of its link (``AccountApi.columns``).
    """

    id: Id = 0
    name: str
    type: Word = ""
    formula_type: Word = ""
    array_formula_type: Word = ""
    primary: bool = False
    order: Annotated[int, BeforeValidator(lambda value: value if isinstance(value, int) else 0)] = 0
    decimals: Annotated[int | None, BeforeValidator(_decimals)] = Field(
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
        """The type of its values: the result type of a computed column, if known, else ``type``."""
        return self.formula_type or self.type if self.type in COMPUTED else self.type

    def for_masking(self) -> dict[str, Any]:
        """Return what masking depends on, as JSON that this class can read."""
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
    """One page of rows. ``count`` is the number of rows after filter and search, of all pages."""

    count: Annotated[int, Field(ge=0)]
    # Not validated: the content is unknown, and a copy of each row takes a tenth of the call.
    rows: tuple[InstanceOf[dict[str, Any]], ...] = Field(
        validation_alias=AliasChoices("results", "rows")
    )
    next: str | None = None


class Link(Answer):
    """A URL for a user's browser: reauthorisation, bank refresh, invite."""

    url: str = Field(validation_alias=AliasChoices("auth_uri", "url"), repr=False)


class Token(Answer):
    """A token. ``repr`` hides it. The short-lived one has priority: it may reach a browser."""

    token: str = Field(
        pattern=r"^[!-~]+$",
        repr=False,
        validation_alias=AliasChoices("integration_token", "token", "access_token"),
    )


class Warehouse(Answer):
    """A customer's data warehouse (S: ``server_id``, ``server_name``)."""

    name: str = Field(validation_alias="server_name")
