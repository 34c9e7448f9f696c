"""The client against the sandbox, which shares no code with it, over a loopback connection."""

import time

from dashboard import peliqan
from tests.support.processes import TOKEN
from tests.support.sandbox import ACCOUNTS, Sandbox


def client(sandbox: Sandbox) -> peliqan.Peliqan:
    options = peliqan.ClientOptions(read_timeout=10.0, backoff=0.0)
    return peliqan.Peliqan(sandbox.url, TOKEN, tokens=peliqan.MemoryTokens(), options=options)


def test_every_account_is_found_over_its_pages_and_again_by_its_own_id(sandbox: Sandbox) -> None:
    api = client(sandbox)
    found = list(api.accounts(per_page=7))
    assert len({account.id for account in found}) == len(found) == ACCOUNTS
    assert api.account_page(1, 7).more
    assert not api.account_page(-(-ACCOUNTS // 7), 7).more
    external = found[-1].external_id
    assert external is not None
    assert api.account(external) == found[-1]


def test_a_sync_is_started_followed_to_its_end_and_its_log_read(sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    account = client(sandbox).for_account(connection.account_id)
    assert connection.id in {each.id for each in account.connections()}
    assert account.connection(connection.id).id == connection.id

    started = account.start_sync(connection.id)
    run_id, task_id = started.first_run_id, started.first_task_id
    assert run_id is not None
    assert task_id is not None
    deadline = time.monotonic() + 20
    while (status := account.sync_status(connection.id, task_id=task_id, run_id=run_id)).running:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    run = account.run(connection.id, run_id)
    assert run is not None
    assert run.succeeded
    assert status.status == run.status
    assert account.runs(connection.id)[0].id == run_id
    assert account.run_logs(run_id)


def test_databases_lead_to_tables_and_tables_to_columns_and_rows(sandbox: Sandbox) -> None:
    account = client(sandbox).for_account(sandbox.healthy.account_id)
    tables = [table for database in account.databases() for table in account.tables(database.id)]
    table = next(
        table for table in tables if account.rows(table.id, peliqan.RowQuery(size=1)).count > 1
    )
    assert account.table(table.id).name == table.name

    columns = account.columns(table.id)
    page = account.rows(table.id, peliqan.RowQuery(size=2))
    assert columns[0].primary
    assert len(page.rows) == 2
    assert {column.name for column in columns} <= set(page.rows[0])
    assert account.row(table.id, page.rows[0]["id"])["id"] == page.rows[0]["id"]
    past = account.rows(table.id, peliqan.RowQuery(page=100_000))
    assert (past.rows, past.count) == ((), page.count)


def test_a_customer_is_sent_to_a_page_to_allow_access_again(sandbox: Sandbox) -> None:
    connection = sandbox.healthy
    link = client(sandbox).for_account(connection.account_id).reauthorise(connection.id)
    assert link.url.startswith("http")


def test_a_customer_is_invited_to_connect_something_and_nothing_is_e_mailed(
    sandbox: Sandbox,
) -> None:
    account = client(sandbox).for_account(sandbox.healthy.account_id)
    first, second = account.invite("xero"), account.invite("xero")
    assert first.url.startswith(f"{sandbox.url}/sandbox/invite/")
    assert first.url.endswith("?connector=xero")
    assert first.url != second.url
    assert first.url not in repr(first)


def test_the_widget_gets_a_token_for_one_customer(sandbox: Sandbox) -> None:
    api = client(sandbox)
    account = next(api.accounts())
    assert account.external_id is not None
    token = api.integration_token(
        account.external_id,
        first_name="Ada",
        last_name="L",
        email="ada@example.com",
        company_name="A",
    )
    assert token.token
    assert token.token not in repr(token)
