"""Destinations that administrators may use, where the operator restricts them."""

from pathlib import Path

import pytest

from dashboard.alerts import sending as alert_delivery
from dashboard.core.egress import AllowedDestination, EgressPolicy, NotAllowed
from dashboard.pulls.destinations.registry import open_destination
from dashboard.settings import SettingsError, read_settings

SOME = (
    "slack://, jsons://hooks.example.com, mailtos://*.example.com, "
    "postgresql://*.warehouse.example.com, parquet:///srv/copies, sqlite:////srv/copies"
)
REFUSED = "its operator says where it may"


def policy(text: str = SOME) -> EgressPolicy:
    return EgressPolicy(AllowedDestination.read(each.strip()) for each in text.split(","))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://reader:secret@eu.warehouse.example.com:5432/data?sslmode=require",
        "postgres://reader@EU.Warehouse.Example.com/data",
        "postgresql+psycopg://reader@eu.warehouse.example.com/data",
        "host=eu.warehouse.example.com dbname=data user=reader",
        "parquet:///srv/copies/2026",
        "sqlite:////srv/copies/all.db",
    ],
)
def test_what_the_operator_names_is_allowed(address: str) -> None:
    policy().ensure(address)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://reader@warehouse.example.org/data",
        "postgresql://warehouse.example.com.evil.example/data",
        "postgresql://reader@eu.warehouse.example.com,10.0.0.1/data",
        "postgresql://reader@eu.warehouse.example.com/data?host=10.0.0.1",
        "postgresql://reader@eu.warehouse.example.com/data?hostaddr=10.0.0.1",
        "host=10.0.0.1 dbname=data user=reader",
        "postgresql:///data?service=other",
        "host='",
        "parquet:///srv/copies/../secrets",
        "parquet:///srv/copies-of-others",
        "parquet://copies",
        "sqlite:////srv/other.db",
        "sqlite:///relative.db",
    ],
)
def test_what_the_operator_does_not_name_is_refused_however_it_is_written(address: str) -> None:
    with pytest.raises(NotAllowed, match=REFUSED):
        policy().ensure(address)
    EgressPolicy().ensure(address)


def test_a_link_out_of_the_folder_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "out").symlink_to("/etc")
    mine = policy(f"parquet://{tmp_path}/copies")
    mine.ensure(f"parquet://{tmp_path}/copies/in")
    with pytest.raises(NotAllowed):
        mine.ensure(f"parquet://{tmp_path}/copies/out")


def test_alerts_go_to_services_that_are_named_and_their_hosts() -> None:
    for address in (
        "slack://TTTTTTTTT/BBBBBBBBB/cccccccccccccccccccccccc",
        # In parts, since `make secrets` would report the complete address.
        "/".join(("https://hooks.slack.com/services", "T" * 9, "B" * 9, "c" * 24)),
        "jsons://hooks.example.com/in",
        "mailtos://someone:secret@example.com?smtp=mail.example.com&from=a@mail.example.com&to=b@example.com&mode=ssl",
    ):
        if address.startswith("mailtos"):
            mail = policy("mailtos://*example.com")
            assert alert_delivery.check_address(address, mail)
            with pytest.raises(NotAllowed, match=REFUSED):
                alert_delivery.check_address(
                    address.replace("smtp=mail.example.com", "smtp=10.0.0.1"), mail
                )
            continue
        assert alert_delivery.check_address(address, policy())
    for address in (
        "json://hooks.example.com/in",
        "jsons://10.0.0.1/in",
        "discord://123456789/abcdefghijklmnop",
    ):
        with pytest.raises(NotAllowed, match=REFUSED):
            alert_delivery.check_address(address, policy())
        assert REFUSED in str(alert_delivery.send(address, "subject", "body", policy=policy()))


def test_a_file_is_the_one_that_its_address_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="says where it is, and no more"):
        open_destination(f"sqlite:///file:{tmp_path}/console.db?uri=true")


@pytest.mark.parametrize("value", ["slack", "parquet://copies", "sqlite:///copies.db", "://x"])
def test_a_place_that_cannot_be_read_is_named_at_the_start(value: str) -> None:
    environ = {
        "SECRET_KEY": "k" * 40,
        "PELIQAN_API_URL": "https://app.eu.peliqan.io",
        "PELIQAN_PARTNER_TOKEN": "t",
    }
    with pytest.raises(SettingsError, match="DASHBOARD_PLACES"):
        read_settings({**environ, "DASHBOARD_PLACES": value}, Path("/nonexistent"))
