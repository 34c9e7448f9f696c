"""``dashboard pull``, as an operator runs it: full and incremental copies."""

import json

from tests.support.pulled_copies import Copies, Run

EVERYTHING = 10011900


def test_a_customers_tables_are_copied_whole_below_their_connections(
    pull: Run, copies: Copies
) -> None:
    result = pull(copies.address, "--account", "1002")
    assert result.returncode == 0, result.stdout + result.stderr
    tables = copies.tables()
    assert tables
    for table_id, each in tables.items():
        rows = copies.rows(table_id)
        assert sorted(row["id"] for row in rows) == list(range(1, each["rows"] + 1))
        assert each["mode"] == "full"
    if copies.is_files:
        customer = json.loads((copies.folder / "customers/1002/customer.json").read_text())
        assert {each["id"] for each in customer["connections"]} >= {
            each["connection_id"] for each in tables.values()
        } - {None}
        assert not list(copies.folder.rglob("*.under-way"))
    else:
        found = copies.query(
            "SELECT m.target FROM _pull_manifest m"
            " JOIN _pull_connections c ON c.id = m.connection_id"
            " JOIN _pull_customers p ON p.id = c.account_id"
        )
        assert found


def test_hostile_names_and_values_of_every_type_are_kept(pull: Run, copies: Copies) -> None:
    result = pull(
        copies.address, "--account", "1001", "--table", "Everything", "--table", "Empty", "--json"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert not result.stderr
    table = copies.tables()[EVERYTHING]
    stored = {each["name"]: each["stored"] for each in table["columns"]}
    rows = {row["id"]: row for row in copies.rows(EVERYTHING)}
    assert len(rows) == 60
    assert rows[1][stored['Quote " dot . slash / 😀']] == "@SUM(A1)"
    assert rows[1][stored["amount"]] == "lower-case twin"
    assert str(rows[1][stored["Amount"]]).startswith("9007199254740993")
    assert rows[1][stored["Status"]] == "Paid"
    assert json.loads(rows[3][stored["Customers"]])[149]["value"] == "Customer 149 & Søn"
    assert rows[5][stored["Precise"]] is not None
    assert str(rows[5][stored["Precise"]]).startswith("1" * 50)
    assert rows[4][stored["Title"]] == "‮reversed"
    if "postgresql" not in copies.address:
        assert stored["amount"] == "amount_2"
        assert "called “amount_2”" in result.stdout


def test_a_second_pull_reads_what_changed_and_nothing_comes_twice(
    pull: Run, copies: Copies
) -> None:
    words = ("--account", "1002", "--json")
    first = json.loads(pull(copies.address, *words).stdout)
    before = {table_id: copies.rows(table_id) for table_id in copies.tables()}
    again = json.loads(pull(copies.address, *words).stdout)
    dated = [each for each in again["tables"] if each["change_column"]]
    assert dated
    assert {each["mode"] for each in dated} == {"incremental"}
    assert sum(each["read"] for each in again["tables"]) < sum(
        each["read"] for each in first["tables"]
    )
    for each in again["tables"]:
        rows = copies.rows(each["table_id"])
        assert sorted(row["id"] for row in rows) == sorted(
            row["id"] for row in before[each["table_id"]]
        )
    whole = json.loads(pull(copies.address, *words, "--full").stdout)
    assert {each["mode"] for each in whole["tables"]} == {"full"}
