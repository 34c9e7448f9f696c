"""SQL statements and their values, and the limits that a PostgreSQL warehouse enforces."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dashboard.sql.backends import postgresql
from dashboard.sql.limits import MOST_ROWS
from dashboard.sql.parameters import BadStatement, checked, names_in, with_values
from dashboard.sql.result import Failed, Result
from tests.support.databases import Servers, wait_for

SECRET = "s3cret-of-the-warehouse"


@pytest.fixture(scope="module")
def warehouse(servers: Servers) -> Iterator[str]:
    """Yield a customer's warehouse: a PostgreSQL database with a table and a user who may write."""
    url = servers.postgresql.create("warehouse").replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "create table invoice"
            " (id int primary key, email text, amount numeric(12,2), paid boolean)"
        )
        connection.execute(
            "insert into invoice select n, 'a' || n || '@example.com', n * 1.5, n % 2 = 0"
            " from generate_series(1, 30) n"
        )
    yield url
    servers.postgresql.drop("warehouse")


def run_query(warehouse: str, question: str, seconds: float = 20) -> Result:
    result = Result()
    postgresql.run_query(warehouse, question, result, lambda _cancel: None, seconds)
    return result


def test_an_answer_has_its_columns_and_every_digit(warehouse: str) -> None:
    found = run_query(
        warehouse,
        "select id, email as e, amount, paid, lower(email) as low from invoice order by id limit 2",
    )
    assert [(column.name, column.type) for column in found.columns] == [
        ("id", "int4"),
        ("e", "text"),
        ("amount", "numeric"),
        ("paid", "bool"),
        ("low", "text"),
    ]
    assert found.rows[0] == [1, "a1@example.com", "1.50", False, "a1@example.com"]


def test_an_answer_without_rows_has_its_columns(warehouse: str) -> None:
    found = run_query(warehouse, "select id, amount from invoice where false")
    assert [column.name for column in found.columns] == ["id", "amount"]
    assert found.rows == []


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("insert into invoice values (99, 'x', 1, true)", "read-only transaction"),
        ("delete from invoice", "read-only transaction"),
        ("create table other (id int)", "read-only transaction"),
        ("drop table invoice", "read-only transaction"),
        (
            "with gone as (delete from invoice returning *) select * from gone",
            "read-only transaction",
        ),
        ("lock table invoice in access exclusive mode", "gives no rows"),
        ("select 1; select 2", "multiple commands"),
        ("select 1; drop table invoice", "multiple commands"),
        ("commit; drop table invoice", "multiple commands"),
        ("select pg_sleep(60)", "statement timeout"),
        ("selekt 1", "syntax error"),
        ("select * from nothing_like_it", "does not exist"),
    ],
)
def test_what_is_no_single_short_reading_is_refused_by_the_database(
    warehouse: str, question: str, message: str
) -> None:
    with pytest.raises(Failed) as refused:
        run_query(warehouse, question, seconds=1)
    assert message in str(refused.value).lower()
    assert not refused.value.incomplete
    assert len(run_query(warehouse, "select id from invoice").rows) == 30


def test_setting_the_transaction_to_write_opens_nothing_for_the_next_question(
    warehouse: str,
) -> None:
    for way_out in (
        "set transaction read write",
        "set default_transaction_read_only = off",
        "commit",
    ):
        result = Result()
        with contextlib.suppress(Failed):
            postgresql.run_query(warehouse, way_out, result, lambda _cancel: None)
        with pytest.raises(Failed):
            run_query(warehouse, "delete from invoice")


def test_a_gigabyte_is_cut_at_the_limits_and_said_to_be(warehouse: str) -> None:
    many = run_query(warehouse, "select n from generate_series(1, 100000000) n")
    assert len(many.rows) == MOST_ROWS
    assert many.cut == "There are more than 10,000 rows; these are the first."
    large = run_query(warehouse, "select repeat('x', 1000000) from generate_series(1, 1000)")
    assert len(large.rows) == 7
    assert "more than 8 MB" in large.cut
    shaped = run_query(
        warehouse,
        "select json_build_object('x', repeat('y', 1000000)) from generate_series(1, 1000)",
    )
    assert len(shaped.rows) < 8
    assert "more than 8 MB" in shaped.cut


def test_a_single_value_that_is_too_large_is_left_where_it_is(warehouse: str) -> None:
    before = most_memory()
    found = run_query(warehouse, "select 1 as id, repeat('x', 400000000) as large")
    assert most_memory() - before < 100
    assert [column.name for column in found.columns] == ["id", "large"]
    assert found.rows == []
    assert found.cut == "There is more than 8 MB; the first row alone has more."
    then = run_query(
        warehouse,
        "select repeat('x', case when n = 3 then 400000000 else 1 end)"
        " from generate_series(1, 9) n",
    )
    assert len(then.rows) == 2
    assert found.cut
    with psycopg.connect(warehouse) as connection:
        wait_for(lambda: not others(connection), "the database has ended both queries")


def most_memory() -> float:
    """Return the peak memory of this process since the last call, in MB."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return (
        int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
        / 1024
    )


def others(connection: "psycopg.Connection[Any]") -> list[Any]:
    statement = (
        "select pid from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    found = connection.execute(statement).fetchall()
    connection.rollback()
    return found


def test_where_nobody_answers_is_said_in_words() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"postgresql://reader:{SECRET}@127.0.0.1:{listener.getsockname()[1]}/data"
        with pytest.raises(Failed, match="cannot be reached: Connection refused"):
            run_query(address, "select 1")
        with pytest.raises(postgresql.BadAddress, match="cannot be reached: Connection refused"):
            postgresql.check(address)


def test_a_cancelled_question_is_gone_from_the_database(warehouse: str) -> None:
    cancels: list[Callable[[], None]] = []
    failures: list[Failed] = []

    def run() -> None:
        try:
            postgresql.run_query(
                warehouse, "select pg_sleep(50), 'to be cancelled'", Result(), cancels.append
            )
        except Failed as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    with psycopg.connect(warehouse, autocommit=True) as connection:

        def under_way() -> int:
            statement = (
                "select count(*) from pg_stat_activity"
                " where query like '%to be cancelled%' and pid <> pg_backend_pid()"
            )
            row = connection.execute(statement + " and state = 'active'").fetchone()
            assert row is not None
            return int(row[0])

        wait_for(lambda: under_way() == 1, "the query is running")
        cancels[0]()
        thread.join(10)
        assert not thread.is_alive()
        wait_for(lambda: under_way() == 0, "the database has cancelled it")
    assert "user request" in str(failures[0])


@pytest.mark.parametrize(
    ("address", "described"),
    [
        ("https://example.com", "no address of PostgreSQL's"),
        ("postgresql://reader@/data", "lacks: host"),
        ("postgresql://reader:x@example.com/data?passfile=/etc/passwd", "not passfile"),
        ("postgresql://reader:x@example.com/data?options=-c%20x%3Dy", "not options"),
        ("host=a.example.com,b.example.com dbname=data user=reader", "one host"),
        ("host=/var/run/postgresql dbname=data user=reader", "socket of this machine"),
    ],
)
def test_an_address_says_where_and_who_and_nothing_else(address: str, described: str) -> None:
    with pytest.raises(postgresql.BadAddress, match=described):
        postgresql.shown(address)


def test_a_password_is_in_no_sentence(warehouse: str) -> None:
    where = warehouse.split("@")[-1] if "@" in warehouse else warehouse.split("//")[-1]
    wrong = f"postgresql://nobody:{SECRET}@{where.rpartition('/')[0]}/no_such_database"
    assert SECRET not in postgresql.shown(wrong)
    with pytest.raises(postgresql.BadAddress) as refused:
        postgresql.check(wrong)
    assert SECRET not in str(refused.value)


def test_the_consoles_own_store_is_no_warehouse(warehouse: str) -> None:
    with pytest.raises(postgresql.BadAddress, match="own store"):
        postgresql.check(warehouse, warehouse)
    postgresql.check(warehouse)


def test_names_are_found_where_they_are_names() -> None:
    text = (
        "select ':no', \":no\", a::text -- :no\n, $$ :no $$ /* :no */"
        " from t where at > :since and x = :who and y = :since"
    )
    assert names_in(text) == ["since", "who"]
    made = with_values(
        text, {"since": "date"}, {"since": "2026-11-24", "who": "O'Hara; drop table t --"}
    )
    assert made.endswith(
        "where at > '2026-11-24' and x = 'O''Hara; drop table t --' and y = '2026-11-24'"
    )
    assert "':no', \":no\", a::text -- :no\n" in made


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", "1; drop table t"),
        ("number", "nan"),
        ("number", "1e1001"),
        ("number", "1e-999999999"),
        ("date", "yesterday"),
        ("text", ""),
        ("text", "a\\'"),
        ("number", ""),
    ],
)
def test_a_value_that_is_not_of_its_type_is_refused(kind: str, value: str) -> None:
    with pytest.raises(BadStatement, match="“it”"):
        with_values("select :it", {"it": kind}, {"it": value})


def test_values_arrive_as_they_are(warehouse: str) -> None:
    text = with_values(
        "select :a as a, :b + 1 as b", {"b": "number"}, {"a": "x'; -- 😀 %s", "b": "-2.5"}
    )
    assert run_query(warehouse, text).rows == [["x'; -- 😀 %s", "-1.5"]]


def test_an_empty_question_is_none() -> None:
    for text in ("", "  ;", "select '\0'"):
        with pytest.raises(BadStatement):
            checked(text)


@pytest.mark.parametrize(
    "text",
    ["select 'a :no", 'select "a :no', "select /* a :no", "select $x$ a :no", "select $$ a :no"],
)
def test_what_nothing_closes_reaches_to_the_end(text: str) -> None:
    assert names_in(f"select :yes, {text}") == ["yes"]
    assert names_in("select price$usd$, :yes where n = $1$ and 2 = :also") == ["yes", "also"]
