"""Errors of databases, libraries and partners' functions never store or show values of rows."""

import json
import logging
import re
import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from flask import Flask
from sqlalchemy import exc

from dashboard import peliqan
from dashboard.core.error_values import sentence_of, without_values
from dashboard.core.sql_text import names_in_statement
from dashboard.deliveries.hook import FunctionHook, HookError
from dashboard.pulls.refusals import of_database
from dashboard.sql.backends import peliqan as peliqan_backend
from dashboard.sql.backends import postgresql
from dashboard.sql.result import Failed, Result
from dashboard.telemetry import logs, sentry
from tests.support.databases import Servers
from tests.support.people import Person

# The words of values that must not appear anywhere.
WORDS = re.compile(r"zanzibar|quokka|4711|0815", re.IGNORECASE)
VALUES = [
    "zanzibar@example.com",
    "O'Zanzibar",
    'say "zanzibar" to "quokka"',
    "zanzibar\nDETAIL:  quokka",
    "zanzibar\r\n\u2028quokka",
    "zanzibar (quokka) and ) zanzibar",
    "»zanzibar« «quokka» „zanzibar“ ‘quokka’",
    "4711 0815 4711 0815",
    "zanzibar': \"quokka",
    "email = 'zanzibar'",
]
# Not as literals: the log quotes a line of the failed code.
SECRET, NUMBER = VALUES[0], "4711.0815"
# Errors of PostgreSQL 16 in several languages, SQLite, pyarrow, Python and other warehouses.
MESSAGES = [
    'invalid input syntax for type integer: "{}"',
    'ERROR:  invalid input syntax for type numeric: "{}"\nLINE 1: select \'{}\'::numeric\n        '
    '       ^',
    'duplicate key value violates unique constraint "person_email_key"\nDETAIL:  Key (email)=({}) '
    'already exists.',
    "Key (email)=({}) already exists.",
    'null value in column "n" of relation "person" violates not-null constraint\nDETAIL:  Failing '
    'row contains (1, {}, null).',
    'date/time field value out of range: "{}"\nHINT:  Perhaps you need a different "datestyle" '
    'setting.',
    'value "{}" is out of range for type integer',
    'relation "{}" does not exist',
    'malformed array literal: "{}"\nDETAIL:  Array value must start with "{{" or dimension '
    'information.',
    'invalid input syntax for type json\nDETAIL:  Token "{}" is invalid.\nCONTEXT:  JSON data, '
    'line 1: {}...',
    'invalid value "{}" for "Mon"',
    '(psycopg2.errors.InvalidTextRepresentation) invalid input syntax for type integer: "{}"',
    "FEHLER:  ungültige Eingabesyntax für Typ integer: »{}«",
    "doppelter Schlüsselwert verletzt Unique-Constraint »person_email_key«\nDETAIL:  Schlüssel "
    "»(email)=({})« existiert bereits.",
    "syntaxe en entrée invalide pour le type integer : « {} »",
    "la relation « {} » n'existe pas",
    "la sintaxis de entrada no es válida para tipo integer: «{}»",
    'sintassi di input non valida per il tipo integer: "{}"',
    'неверный синтаксис для типа integer: "{}"',
    'отношение "{}" не существует',
    "nieprawidłowa składnia wejścia dla typu integer: „{}”",
    'ogiltig indatasyntax för typen integer: "{}"',
    '"integer"型の入力構文が不正です: "{}"',
    '无效的类型 integer 输入语法: "{}"',
    "「{}」は存在しません",
    "no such column: {}",
    'near "{}": syntax error',
    "unrecognized token: \"'{}\"",
    "bad JSON path: '{}'",
    "Could not convert '{}' with type str: tried to convert to int64",
    "(\"Could not convert '{}' with type str: tried to convert to int64\", 'Conversion failed for "
    "column email')",
    "Failed to parse string: '{}' as a scalar of type int32",
    "invalid literal for int() with base 10: '{}'",
    "'{}'",
    "Duplicate entry '{}' for key 'email'",
    "Conversion failed when converting the varchar value '{}' to data type int.",
    "The duplicate key value is ({}).",
    "Numeric value '{}' is not recognized",
    "Bad int64 value: {}",
    "Incorrect integer value: `{}` for column `n` at row 1",
    "key={}",
    'invalid input syntax for type integer: "invoice" {} "n"',
    'value "text" {}" is out of range',
]  # fmt: skip
# Names that are not in the statement, without quotes: made with ``query_to_xml`` and ``chr``.
BARE = [
    "function zanzibar() does not exist",
    "column t.zanzibar does not exist",
    "setseed parameter 4711 is out of allowed range [-1,1]",
    "requested character too large for encoding: 4711",
    "index 4711 out of valid range, 0..16",
    "operator does not exist: zanzibar + quokka",
    'missing FROM-clause entry for table "zanzibar"',
    "cross-database references are not implemented: zanzibar.quokka.x",
]
STATEMENT = (
    "select e.name, lower(amount) from invoice e "
    "join \"Order lines\" on emial = 'zanzibar' where n = 4711"
)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("message", MESSAGES)
def test_no_message_keeps_the_value_that_it_quotes(message: str, value: str) -> None:
    message_with_value = message.replace("{{", "{").replace("{}", value)
    for names in ((), names_in_statement(STATEMENT)):
        assert not WORDS.search(without_values(message_with_value, names)), message_with_value


@pytest.mark.parametrize("message", BARE)
def test_no_message_keeps_a_value_without_quotes(message: str) -> None:
    assert not WORDS.search(without_values(message, names_in_statement(STATEMENT)))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('relation "invoice" does not exist', 'relation "invoice" does not exist'),
        ('column "emial" does not exist', 'column "emial" does not exist'),
        ("column e.emial does not exist", "column e.emial does not exist"),
        ("function lower(numeric) does not exist", "function lower(numeric) does not exist"),
        ("no such column: emial", "no such column: emial"),
        (
            "cannot execute DELETE in a read-only transaction",
            "cannot execute DELETE in a read-only transaction",
        ),
        (
            "canceling statement due to statement timeout",
            "canceling statement due to statement timeout",
        ),
        ("l'opérateur n'existe pas", "l'opérateur n'existe pas"),
        ("division by zero", "division by zero"),
        (
            'invalid input syntax for type integer: "zanzibar"',
            "invalid input syntax for type integer: …",
        ),
        ("“zanzibar”", ""),
    ],
)
def test_what_the_statement_names_itself_and_plain_words_stay(message: str, expected: str) -> None:
    assert without_values(message, names_in_statement(STATEMENT)) == expected


@pytest.fixture(scope="module")
def warehouse(servers: Servers) -> Iterator[str]:
    url = servers.postgresql.create("quoting").replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create table person (id int primary key, email text, number bigint)")
        connection.execute("insert into person values (1, 'zanzibar@example.com', 4711)")
        connection.execute(
            "create function tell(text) returns int language plpgsql stable as"
            " $$ begin raise exception 'no zanzibar here, %', $1 using detail = $1, hint = $1; "
            "end $$"
        )
    yield url
    servers.postgresql.drop("quoting")


@pytest.mark.parametrize(
    ("statement", "title"),
    [
        ("select email::int from person",
            "Invalid text representation (22P02): invalid input syntax for type integer: …"),
        ("select (email || chr(10) || email)::date from person", "Invalid datetime format (22007)"),
        ("select ('{' || email)::json from person", "Invalid text representation (22P02)"),
        ("select email::regclass from person", "Invalid schema name (3F000): schema …."),
        ("select tell(email) from person", "Raise exception (P0001)."),
        ("select chr(number::int * 1000) from person", "Program limit exceeded (54000)"),
        ("select setseed(number) from person",
            "Invalid parameter value (22023): setseed parameter …"),
        ("select query_to_xml('select ' || split_part(email, '@', 1) || '()', true, true, '') "
         "from person", "Undefined function"),
        ("select query_to_xml('select p.' || split_part(email, '@', 1) || ' from person p', true, "
         "true, '') from person",
         "Undefined column (42703)"),
        ("select 'zanzibar'::int", "Invalid text representation (22P02)"),
        ("select emial from person", 'Undefined column (42703): column "emial" does not exist.'),
    ],
)  # fmt: skip
def test_what_a_real_postgresql_says_is_its_class_and_no_value(
    warehouse: str, statement: str, title: str
) -> None:
    with pytest.raises(Failed) as refused:
        postgresql.run_query(warehouse, statement, Result(), lambda _: None)
    assert title in str(refused.value)
    assert not WORDS.search(str(refused.value))


@pytest.mark.parametrize(
    "statement",
    ["select json_extract('{}', email) from person", "select json(email) from person"],
)
def test_what_a_real_sqlite_says_has_no_value(statement: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table person (email text)")
    connection.execute("insert into person values ('zanzibar''s @example.com')")
    with pytest.raises(sqlite3.Error) as refused:
        connection.execute(statement).fetchall()
    refused_copy = exc.DBAPIError.instance(statement, {}, refused.value, sqlite3.Error)
    assert isinstance(refused_copy, exc.DBAPIError)
    for text in (
        without_values(str(refused.value), names_in_statement(statement)),
        str(of_database(refused_copy, "this table")),
    ):
        assert not WORDS.search(text)


@pytest.mark.parametrize(
    "convert",
    [
        lambda: pa.array([SECRET]).cast(pa.int64()),
        lambda: pa.array([1, SECRET], pa.int64()),
        lambda: pa.array([{SECRET: 1}, SECRET]),
        lambda: pa.array([SECRET]).cast(pa.timestamp("us")),
        lambda: pa.scalar(Decimal(NUMBER), pa.decimal128(4, 1)),
        lambda: int(SECRET),
        lambda: json.loads('{"n": ' + SECRET),
        lambda: {}[SECRET],  # type: ignore[misc]
    ],
)
def test_what_a_library_raises_reaches_neither_a_log_nor_the_service_for_mistakes_nor_a_delivery(
    convert: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        convert()
    except (pa.ArrowException, TypeError, ValueError, KeyError) as error:
        raised: Exception = error
    caught = (type(raised), raised, raised.__traceback__)
    line = logs.LogFormatter().format(
        logging.LogRecord("dashboard", logging.ERROR, __file__, 1, "A task failed", (), caught)
    )
    assert type(raised).__name__ in line
    event = {"exception": {"values": [{"type": type(raised).__name__, "value": str(raised)}]}}
    monkeypatch.setattr("tests.security.test_error_values.raised_by_the_hook", raised)
    with pytest.raises(HookError) as refused:
        FunctionHook("tests.security.test_error_values:hook").send({})
    for text in (line, str(sentry.clean(event)), refused.value.sentence):
        assert not WORDS.search(text), text


raised_by_the_hook: Exception = ValueError("nothing")


def hook(_message: object) -> None:
    """A partner's function that cannot store a row."""
    raise raised_by_the_hook


class Refusing:
    """An account whose every response is an error with a value in it."""

    def __init__(self, error: peliqan.PeliqanError) -> None:
        self.error = error

    def query(self, *_: object, **__: object) -> object:
        raise self.error


@pytest.mark.parametrize(
    "kind", [peliqan.QueryFailed, peliqan.Refused, peliqan.ServerError, peliqan.Forbidden]
)
@pytest.mark.parametrize("value", VALUES[:5])
def test_what_peliqan_answers_has_no_value(kind: type[peliqan.PeliqanError], value: str) -> None:
    error = kind(
        "proxy_db",
        status=400,
        error="ERROR_BAD",
        detail=f'invalid input syntax for type integer: "{value}"',
    )
    with pytest.raises(Failed) as refused:
        peliqan_backend.run_query(Refusing(error), STATEMENT, Result(), lambda _: None)  # type: ignore[arg-type]
    assert not WORDS.search(str(refused.value))
    assert not WORDS.search(sentence_of(error))
    if kind is peliqan.QueryFailed:
        assert not WORDS.search(str(error) + json.dumps(dict(error.as_json())))


def test_a_check_of_the_data_shows_no_value_of_what_the_warehouse_says(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The console's own check casts values of customers' columns."""

    def refuse(*_: object, **__: object) -> object:
        raise peliqan.QueryFailed(
            "proxy_db", detail='invalid input syntax for type bigint: "zanzibar"'
        )

    monkeypatch.setattr("dashboard.tables.data_checks.jobs.check", refuse)
    monkeypatch.setattr("dashboard.tables.data_checks.service.is_fresh", lambda *_: False)
    viv = Person(app.test_client(), "viv@example.com")
    page = next(
        str(each["href"])
        for each in viv.get("/connections").select("tbody a[href*='/connections/']")
    )
    text = viv.post(f"{page}/data-check", htmx=True).text
    assert "The data could not be checked. The warehouse did not carry this out." in text
    assert not WORDS.search(text)
