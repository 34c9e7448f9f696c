"""A real nginx in front of the console: its defaults, HTTP/1.1 to the console, and as ``deploy/nginx.conf`` has it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from dashboard.cli.serving import end
from tests.engines import free_port, wait_for

# ``user`` only counts where the test runs as root, whose folders no other account may enter.
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
}}
"""
DEPLOYED = Path(__file__).parent.parent / "deploy" / "nginx.conf"


class Nginx:
    """nginx on free ports: with its defaults, with HTTP/1.1 to the console, with a short read timeout, and as it is deployed."""

    def __init__(self, folder: Path, console: str) -> None:
        """Start it; ``folder`` is empty and takes its configuration, logs and temporary files."""
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        assert program, "nginx is missing: scripts/need-programs says what to install"
        ports = {name: free_port() for name in ("default_port", "http11_port", "impatient_port")}
        self.default, self.http11, self.impatient = (f"http://127.0.0.1:{port}" for port in ports.values())
        deployed_port = free_port()
        self.deployed = f"http://127.0.0.1:{deployed_port}"
        self.folder = folder
        config = folder / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(
            CONFIG.format(folder=folder, console=console, user=user, deployed=_deployed(console, deployed_port), **ports)
        )
        with (folder / "output.log").open("wb") as output:
            self._process = subprocess.Popen(
                [program, "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")], stdout=output, stderr=output
            )
        wait_for(lambda: (folder / "nginx.pid").exists() or self._process.poll() is not None, "nginx has started")
        assert self._process.poll() is None, (folder / "output.log").read_text()

    def stop(self) -> None:
        """End it at once, with what it has under way."""
        end(self._process)


def _deployed(console: str, port: int) -> str:
    """The server block of the deployment, without TLS, on another port."""
    text = re.sub(r"ssl_certificate.*", "", DEPLOYED.read_text())
    assert "listen 443 ssl;" in text
    assert "http://127.0.0.1:8900" in text
    return text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};").replace("http://127.0.0.1:8900", console)
