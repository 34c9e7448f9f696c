"""nginx in front of the console: its defaults, HTTP/1.1, and the files of ``deploy/``."""

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dashboard.cli.serve import end
from tests.support.databases import free_port, wait_for

# ``user`` only matters where the test runs as root, whose folders other users may not enter.
CONFIG = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
{user}
events {{}}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  # As Debian's own nginx.conf has it.
  sendfile on;
  tcp_nopush on;
  gzip on;
  {servers}
}}
"""
PLAIN = """
  server {{
    listen 127.0.0.1:{default_port};
    location / {{ proxy_pass {console}; }}
  }}
  server {{
    listen 127.0.0.1:{http11_port};
    location / {{ proxy_pass {console}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
  server {{
    listen 127.0.0.1:{impatient_port};
    location / {{ proxy_pass {console}; proxy_read_timeout 1s; }}
  }}
  {deployed}
"""
# A host with another application, and the console below a path.
SHARED = """
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    {locations}
    location / {{ return 404 "another application"; }}
  }}
"""
DEPLOY = Path(__file__).parents[2] / "deploy"
OPERATIONS = DEPLOY.parent / "docs" / "operations.md"
UPSTREAM = "http://127.0.0.1:8900"


class Nginx:
    """nginx on free ports: defaults, HTTP/1.1, a short read timeout, and ``deploy/nginx.conf``."""

    def __init__(self, folder: Path, console: str) -> None:
        """Start it; ``folder`` is empty and takes its files."""
        ports = {name: free_port() for name in ("default_port", "http11_port", "impatient_port")}
        self.default, self.http11, self.impatient = (
            f"http://127.0.0.1:{port}" for port in ports.values()
        )
        deployed_port = free_port()
        self.deployed = f"http://127.0.0.1:{deployed_port}"
        self.folder = folder
        deployed = _without_tls(console, deployed_port)
        self._process = _start(folder, PLAIN.format(console=console, deployed=deployed, **ports))

    def stop(self) -> None:
        """Stop it at once, with its current requests."""
        end(self._process)


class TlsNginx:
    """nginx with TLS: by ``deploy/nginx.conf``, or below /console by ``nginx-path.conf``."""

    def __init__(self, folder: Path, console: str, port: int, *, below_path: bool) -> None:
        """Start it; ``folder`` is empty. Clients have to trust the file ``certificate``."""
        self.certificate, key = make_certificate(folder)
        # The location for long downloads, where docs/operations.md puts it.
        [downloads] = re.findall(r"```\n(location .*?)```", OPERATIONS.read_text(), re.DOTALL)
        if below_path:
            inside = downloads.replace("^/accounts", "^/console/accounts")
            end_of_it = "    client_max_body_size 1m;\n"
            locations = _deployed(
                "nginx-path.conf", **{end_of_it: end_of_it + inside, UPSTREAM: console}
            )
            servers = SHARED.format(
                port=port, certificate=self.certificate, key=key, locations=locations
            )
        else:
            servers = _deployed(
                "nginx.conf",
                **{
                    "location / {": f"{downloads}location / {{",
                    UPSTREAM: console,
                    "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
                    "/etc/ssl/console.example.com.pem": str(self.certificate),
                    "/etc/ssl/console.example.com.key": str(key),
                },
            )
        self._process = _start(folder, servers)

    def stop(self) -> None:
        """Stop it at once, with its current requests."""
        end(self._process)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for 127.0.0.1, valid for a day, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True
        )
        .sign(key, hashes.SHA256())
    )
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return files


def _start(folder: Path, servers: str) -> "subprocess.Popen[bytes]":
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert program, "nginx is missing: scripts/need-programs says what to install"
    config, user = folder / "nginx.conf", "user root;" if os.geteuid() == 0 else ""
    config.write_text(CONFIG.format(folder=folder, user=user, servers=servers))
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")],
            stdout=output,
            stderr=output,
        )
    wait_for(
        lambda: (folder / "nginx.pid").exists() or process.poll() is not None, "nginx has started"
    )
    assert process.poll() is None, (folder / "output.log").read_text()
    return process


def _deployed(name: str, **changed: str) -> str:
    """Return a file of ``deploy/`` with some words replaced, each of which it must contain."""
    text = (DEPLOY / name).read_text()
    for old, other in changed.items():
        assert old in text, f"deploy/{name} has no {old}"
        text = text.replace(old, other)
    return text


def _without_tls(console: str, port: int) -> str:
    """Return the deployed server block on a plain port, for tests that use its socket."""
    changed = {UPSTREAM: console, "listen 443 ssl;": f"listen 127.0.0.1:{port};"}
    return re.sub(r"ssl_certificate.*", "", _deployed("nginx.conf", **changed))
