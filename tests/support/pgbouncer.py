"""PgBouncer before PostgreSQL in transaction mode: transactions change server connections."""

from pathlib import Path

from tests.support.databases import PostgreSQL, Server, accepts_connections, find_program

CONFIG = """
[databases]
* = host=127.0.0.1 port={server} user=console

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
server_round_robin = 1
"""


class PgBouncer(Server):
    """PgBouncer with its defaults except the pool.

    ``size``: server connections for each database, used in turn.
    """

    def __init__(self, folder: Path, postgresql: PostgreSQL, size: int) -> None:
        super().__init__(folder)
        self._config = folder / "pgbouncer.ini"
        self._config.write_text(CONFIG.format(server=postgresql.port, port=self.port, size=size))

    def command(self) -> list[str]:
        """Return PgBouncer's command line."""
        return [find_program("pgbouncer"), str(self._config)]

    def url(self, name: str) -> str:
        """Return the address of a database through the pooler."""
        return f"postgresql://console@127.0.0.1:{self.port}/{name}"

    def answers(self) -> bool:
        """Return whether it leads to the server."""
        return accepts_connections(self.url("postgres"))
