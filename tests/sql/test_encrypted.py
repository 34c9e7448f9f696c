"""Encrypted connections to a warehouse: the proxy forwards them and cannot replace the server."""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dashboard.sql.backends import postgresql
from dashboard.sql.result import Failed, Result
from tests.support.databases import Servers, wait_for

NAME = "localhost"


def certified(folder: Path) -> Path:
    """Give PostgreSQL a key and a self-signed certificate for ``NAME``; return the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    who, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
    made = (
        made.serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    signed = made.add_extension(
        x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False
    ).sign(key, hashes.SHA256())
    (folder / "server.crt").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (folder / "server.key").chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(folder / "server.key", "postgres")
        shutil.chown(folder / "server.crt", "postgres")
    return folder / "server.crt"


def speaks(url: str, encrypted: bool) -> bool:
    with psycopg.connect(url, sslmode="prefer") as connection:
        return connection.pgconn.ssl_in_use is encrypted


@pytest.fixture(scope="module")
def encrypted(servers: Servers) -> Iterator[tuple[str, Path]]:
    """Yield a warehouse's address and its certificate."""
    url = servers.postgresql.create("encrypted")
    certificate = certified(servers.postgresql.folder / "data")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter system set ssl = on")
        connection.execute("select pg_reload_conf()")
        wait_for(lambda: speaks(url, True), "connections are encrypted")
        yield url, certificate
        connection.execute("alter system reset ssl")
        connection.execute("select pg_reload_conf()")
    wait_for(lambda: speaks(url, False), "connections are not encrypted again")
    servers.postgresql.drop("encrypted")


@pytest.fixture
def warehouse(encrypted: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address, for a client that trusts the certificate."""
    url, certificate = encrypted
    trusted = tmp_path / "trusted.crt"
    trusted.write_bytes(certificate.read_bytes())
    monkeypatch.setenv("PGSSLROOTCERT", str(trusted))
    return url


def run_query(address: str, question: str) -> Result:
    result = Result()
    postgresql.run_query(address, question, result, lambda _cancel: None, 20)
    return result


def test_the_other_end_is_known_by_its_certificate_and_nobody_between_reads_along(
    warehouse: str,
) -> None:
    by_name = warehouse.replace("127.0.0.1", NAME) + "?sslmode=verify-full"
    found = run_query(by_name, "select ssl from pg_stat_ssl where pid = pg_backend_pid()")
    assert found.rows == [[True]]


def test_another_name_than_the_certificates_is_refused(warehouse: str) -> None:
    with pytest.raises(Failed, match="certificate"):
        run_query(warehouse + "?sslmode=verify-full", "select 1")


def test_too_large_a_value_is_left_where_it_is_there_too(warehouse: str) -> None:
    found = run_query(warehouse + "?sslmode=require", "select repeat('x', 300000000)")
    assert found.cut
    assert found.rows == []
