"""Connectors by kind, their tables, and the ways in which real connections of them fail."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Failure:
    """A way to fail.

    ``status`` is the connection's, ``run`` that of its runs. ``text`` varies only by ids, dates
    and hosts. ``exit_code``: the source's; None where the failure is not the source's.
    """

    name: str
    status: str
    run: str
    text: str
    exit_code: int | None = 1


EXPIRED: Final = Failure(
    "expired",
    "ERROR",
    "ERROR",
    "401 Client Error: Unauthorized for url: https://{host}/api/v1/{account}/invoices?page={n} "
    "(invalid_grant: Token has been expired or revoked.)",
)
NO_MODULE: Final = Failure(
    "no_module",
    "COMPLETED_WITH_ERRORS",
    "COMPLETED_WITH_ERRORS",
    "403 Client Error: Forbidden for url: "
    "https://{host}/api/v1/{account}/opportunities?limit=100&skip={n} "
    "(module 'opportunities' is not licensed). Other tables were loaded.",
)
TIMEOUT: Final = Failure(
    "timeout",
    "ERROR",
    "ERROR",
    "HTTPSConnectionPool(host='{host}', port=443): Read timed out. (read timeout=300) "
    "while reading page {n}",
)
OUT_OF_MEMORY: Final = Failure(
    "out_of_memory",
    "ERROR",
    "INTERNAL_ERROR",
    "Pipeline runner crashed: pod pipeline-run-{account}-{n} was OOMKilled "
    "(memory limit 2048 MiB).",
    exit_code=None,
)
SCHEMA: Final = Failure(
    "schema",
    "ERROR",
    "ERROR",
    'psycopg2.errors.DatatypeMismatch: column "vat_code" is of type bigint '
    "but expression is of type text (schema source_{account}, row {n})",
)
CONSENT: Final = Failure(
    "consent",
    "ERROR",
    "ERROR",
    "SaltEdge::ConsentExpired: the consent {n} of connection {account} expired on {date}; "
    "the account holder must give it anew.",
    exit_code=2,
)

CLOSED: Final = Failure(
    "closed",
    "ERROR",
    "ERROR",
    "The source switched itself off: the administration {account} was closed.",
    exit_code=2,
)


@dataclass(frozen=True)
class Connector:
    """A connector.

    ``auth``: how a connection is authorised. ``weight``: how common the connector is.
    ``failures``: ways to fail, each with its chance in percent.
    """

    name: str
    title: str
    kind: str
    auth: str
    weight: int
    tables: tuple[str, ...]
    failures: tuple[tuple[Failure, int], ...] = ()

    @property
    def host(self) -> str:
        """The host name of the source's API."""
        return f"api.{self.name.replace('_', '-')}.example.com"

    def schema(self, position: int) -> str:
        """Return the warehouse schema of connection number ``position`` of its account.

        No two connections share a schema.
        """
        return f"{self.name.lower()}_{position}"


CONNECTORS: Final = (
    Connector(
        "exact_online",
        "Exact Online",
        "ERP",
        "oauth2",
        16,
        ("invoices", "contacts", "items"),
        ((EXPIRED, 14),),
    ),
    Connector(
        "odoo",
        "Odoo",
        "ERP",
        "api_key",
        9,
        ("orders", "contacts", "items"),
        ((SCHEMA, 4), (TIMEOUT, 2)),
    ),
    Connector(
        "netsuite",
        "NetSuite",
        "ERP",
        "oauth2",
        5,
        ("invoices", "orders", "items"),
        ((TIMEOUT, 3), (OUT_OF_MEMORY, 3)),
    ),
    Connector("hubspot", "HubSpot", "CRM", "oauth2", 12, ("contacts", "deals"), ((NO_MODULE, 6),)),
    Connector(
        "teamleader",
        "Teamleader",
        "CRM",
        "oauth2",
        8,
        ("contacts", "deals", "invoices"),
        ((NO_MODULE, 8), (EXPIRED, 2)),
    ),
    Connector(
        "yuki", "Yuki", "accounting", "api_key", 10, ("invoices", "transactions"), ((TIMEOUT, 3),)
    ),
    Connector("xero", "Xero", "accounting", "oauth2", 8, ("invoices", "contacts"), ((EXPIRED, 4),)),
    Connector(
        "saltedge_kbc",
        "SaltEdge – KBC",
        "bank",
        "saltedge",
        9,
        ("transactions", "bank_accounts"),
        ((CONSENT, 9),),
    ),
    Connector(
        "SaltEdge_ING",
        "SaltEdge – ING",
        "bank",
        "saltedge",
        5,
        ("transactions", "bank_accounts"),
        ((CONSENT, 7),),
    ),
    Connector(
        "shopify",
        "Shopify",
        "e-commerce",
        "oauth2",
        9,
        ("orders", "customers", "items"),
        ((EXPIRED, 2),),
    ),
    Connector(
        "woocommerce",
        "WooCommerce",
        "e-commerce",
        "basic",
        5,
        ("orders", "customers"),
        ((TIMEOUT, 3), (OUT_OF_MEMORY, 2)),
    ),
    Connector("sftp_files", "Files (SFTP)", "files", "files", 4, ("uploads",), ((SCHEMA, 6),)),
)
# A second target that sources can load into; the widget does not offer it.
TARGET: Final = Connector("postgresql", "PostgreSQL", "database", "basic", 0, ())
BY_NAME: Final = {connector.name: connector for connector in CONNECTORS}

# Each documented status occurs in a fleet of 200; PAUSED_BY_VENDOR is undocumented on purpose.
# The keys are positions of accounts; the status is that of the account's first connection.
PLACED: Final = {
    3: "CHECKING",
    11: "AUTHORIZING",
    17: "CONFIG_SELECT",
    29: "DISABLED",
    41: "RE_ENABLED",
    53: "RE_AUTHORISED",
    67: "RE_AUTHORISING",
    79: "PAUSED_BY_VENDOR",
    97: "CONFIG_SELECT",
    113: "DISABLED",
    151: "CHECKING",
}
# Faults of rows (``tables.DATA_FAULTS``), likewise by the position of the account.
FAULTY_DATA: Final = {
    139: "duplicate_keys",
    149: "mixed_versions",
    157: "table_stale",
    163: "parent_table_empty",
}
