"""Peliqan's own SDK works against the sandbox unmodified."""

from peliqan import Peliqan

from tests.support.processes import TOKEN
from tests.support.sandbox import Sandbox


def test_the_published_sdk_walks_accounts_runs_a_pipeline_and_reads_what_came_of_it(
    sandbox: Sandbox,
) -> None:
    partner = Peliqan(jwt=TOKEN, backend_url=sandbox.url)
    listed, page = [], 1
    while True:
        response = partner.list_subaccounts(page=page, per_page=25)
        listed += response["data"]
        if not response["next"]:
            break
        page += 1
    assert (len(listed), page) == (60, 3)

    quiet = sandbox.healthy
    mine = next(each for each in listed if each["id"] == quiet.account_id)
    account = partner.get_subaccount_instance(external_id=mine["external_id"])
    assert f"dw_{mine['id']}" == account.DW_NAME
    connections = account.list_connections()
    source = next(each for each in connections if each["id"] == quiet.id)
    assert account.list_databases()[0]["type"] == "database"

    started = account.run_pipeline(connection_id=source["id"], is_async=True)
    assert started["run_data"][0]["pipeline_run_id"]
    ended = account.run_pipeline(connection_id=source["id"], is_async=False)
    assert ended["run_info"]["status"] == "COMPLETED"

    runs = account.get_pipeline_runs(connection_id=source["id"], per_page=5)["data"]
    assert runs[0]["id"] == ended["run_id"]
    assert "exit code 0" in account.get_pipeline_logs(runs[0]["id"])["logs"]
    invite = account.send_connection_invite(
        "", "Hello", "Please connect", "", "exact_online", send_email=False
    )
    assert invite["url"].startswith(sandbox.url)
