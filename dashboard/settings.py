"""All settings, read from the environment and a ``.env`` file.

``SettingsError`` names all wrong or missing settings together, so that an operator can correct them
at once.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from dashboard import settings_types
from dashboard.core.egress import EgressPolicy, OwnFiles
from dashboard.findings.rules.facts import Thresholds
from dashboard.peliqan.client import LOOPBACK

PATH_PREFIX = "PELIQAN_PATH_"


class SettingsError(Exception):
    """Settings are wrong or missing; the text names each of them."""


Origin = Annotated[str, BeforeValidator(settings_types.origin)]
ConsoleUrl = Annotated[str, BeforeValidator(settings_types.console_url)]
ConsoleHost = Annotated[str, BeforeValidator(settings_types.console_host)]


class Settings(BaseModel):
    """The validated settings. Field names are the environment variables in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret_key: str = Field(
        min_length=32,
        repr=False,
        description=(
            "Signs sessions and encrypts customers' tokens. Several keys, separated by commas: the"
            " first one signs, all are accepted."
        ),
    )
    database_url: str = Field(
        "",
        repr=False,
        description="SQLAlchemy address of the database; SQLite in DASHBOARD_DATA when empty.",
    )
    redis_url: str = Field(
        "",
        repr=False,
        description="Redis for the work queue and limits of several machines; embedded when empty.",
    )
    peliqan_api_url: Origin = Field(
        "https://app.eu.peliqan.io", description="Base address of Peliqan's API, by region."
    )
    peliqan_partner_token: str = Field(
        min_length=1, repr=False, description="Token of your partner account at Peliqan."
    )
    peliqan_embed_script_url: Origin = Field(
        "https://peliqan.io/embed/v1.3/peliqan-integration.js",
        description="Script of the embedded widget.",
    )
    peliqan_webhook_secret: str = Field(
        "",
        repr=False,
        description=(
            "Secret with which Peliqan signs webhooks; unsigned ones are accepted when empty."
        ),
    )
    peliqan_webhook_header: str = Field(
        "X-Peliqan-Signature",
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="Header that contains a webhook's signature.",
    )
    dashboard_data: Path = Field(
        Path("instance"), description="Folder for the SQLite store and queue."
    )
    dashboard_url: ConsoleUrl | None = Field(
        None,
        description=(
            "Address of this console, with its path if it has one (`https://example.com/console`)."
            " All links begin with it, and the console answers to this host name and on its own"
            " machine only; to any host name when empty."
        ),
    )
    dashboard_widget_origin: ConsoleHost | None = Field(
        None,
        description=(
            "Second host name of this console, for the widget's frame: needed if the vendor's"
            " script uses storage."
        ),
    )
    dashboard_proxies: int = Field(
        0,
        ge=0,
        le=9,
        description=(
            "Number of proxies in front. Each must append its client to X-Forwarded-For; login"
            " attempts are counted by that address. Without `DASHBOARD_URL`, X-Forwarded-Proto is"
            " read in the same manner."
        ),
    )
    dashboard_refresh_interval: int = Field(
        300, ge=5, le=86400, description="Seconds between two refreshes of the fleet."
    )
    dashboard_keep_history_days: int = Field(
        90,
        ge=7,
        le=3650,
        description=(
            "Days that status changes, runs, refreshes and refused requests are kept; the rest of"
            " the audit log is not deleted."
        ),
    )
    dashboard_watch_interval: float = Field(
        15, ge=0.1, le=600, description="Seconds between polls of a running sync; later 2x, 4x."
    )
    dashboard_api_concurrency: int = Field(
        8, ge=1, le=256, description="Calls to the API in flight at once, in each worker."
    )
    dashboard_api_rate: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description=(
            "Most requests to the API a second, of all processes that share a Redis; no limit when"
            " empty."
        ),
    )
    dashboard_api_timeout: float = Field(
        15, gt=0, le=300, description="Seconds to wait for a response of the API."
    )
    dashboard_late_intervals: float = Field(
        2,
        ge=1,
        le=100,
        description=(
            "Data is late when the last success is older than so many of the connection's"
            " intervals."
        ),
    )
    dashboard_dark_intervals: float = Field(
        3,
        ge=1,
        le=100,
        description="Data is dark when the last success is older than so many intervals.",
    )
    dashboard_stuck_times: float = Field(
        3,
        ge=1,
        le=100,
        description=(
            "A run is stuck when it takes longer than so many times its connector's median and"
            " longer than DASHBOARD_STUCK_SECONDS."
        ),
    )
    dashboard_stuck_seconds: int = Field(
        3600, ge=60, le=604800, description="Seconds that a stuck run takes at least."
    )
    dashboard_consent_days: int = Field(
        7,
        ge=1,
        le=90,
        description="Days before a bank's consent ends from which on it is a finding.",
    )
    dashboard_platform_connections: int = Field(
        10,
        ge=2,
        le=10_000,
        description=(
            "So many connections of one connector, dark since the same hour, are one cause."
        ),
    )
    dashboard_playbook: Path | None = Field(
        None,
        description="Folder of your own playbook; the console's when empty.",
    )
    dashboard_masks: Path | None = Field(
        None,
        description="File of your own rules for masking personal data; the console's when empty.",
    )
    dashboard_export_role: Literal["viewer", "operator", "admin"] = Field(
        "operator",
        description="Lowest role that may export complete tables: `viewer`, `operator` or `admin`.",
    )
    dashboard_bulk_at_once: int = Field(
        5, ge=1, le=100, description="Connections of a bulk job that run at a time."
    )
    dashboard_bulk_most: int = Field(
        200,
        ge=1,
        le=100_000,
        description="Most connections in an operator's bulk job; an administrator's has no limit.",
    )
    dashboard_hook: Annotated[str, BeforeValidator(settings_types.hook)] = Field(
        "",
        repr=False,
        description=(
            "Receiver of the tables of new connections: a function, `module:function`, or an https"
            " address."
        ),
    )
    dashboard_hook_tables: str = Field(
        "*",
        description=(
            "Tables that the hook gets: names separated by commas, with or without the connector's"
            " name in front, or `*` for all of the connection."
        ),
    )
    dashboard_hook_secret: str = Field(
        "",
        repr=False,
        description=(
            "Secret that signs what is posted to the hook's address: 16 characters or more."
        ),
    )
    dashboard_metrics_token: str = Field(
        "",
        repr=False,
        description="Bearer token that may read `/metrics`; this machine only when empty.",
    )
    dashboard_log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description=(
            "Lowest level that `serve` and `worker` log: `debug`, `info` (a line for each request),"
            " `warning` or `error`."
        ),
    )
    dashboard_oidc_issuer: Origin | None = Field(
        None,
        description=(
            "Issuer address of an OpenID Connect provider for sign-in; local users only when empty."
        ),
    )
    dashboard_oidc_client_id: str = Field(
        "", description="This console's client id at the provider."
    )
    dashboard_oidc_client_secret: str = Field(
        "",
        repr=False,
        description="The client's secret; empty for a public client, which uses PKCE only.",
    )
    dashboard_oidc_name: str = Field(
        "",
        max_length=60,
        description="Name of the provider on the sign-in button; its host when empty.",
    )
    dashboard_oidc_scope: str = Field(
        "openid email profile",
        description="Requested scopes; some providers send groups only with `groups` added.",
    )
    dashboard_oidc_email_claim: str = Field(
        "email",
        min_length=1,
        description=(
            "Claim with the user's e-mail address: `preferred_username` or `upn` for Entra ID."
        ),
    )
    dashboard_oidc_domains: Annotated[str, settings_types.readable(settings_types.domains)] = Field(
        "",
        description=(
            "Domains whose addresses are the provider's own, such as `example.com, example.org`."
            " These addresses count as verified without `email_verified`, which Entra ID does not"
            " send. Addresses of other domains need it."
        ),
    )
    dashboard_oidc_role_claim: str = Field(
        "roles",
        min_length=1,
        description="Claim with the user's role; dots lead into objects: `realm_access.roles`.",
    )
    dashboard_oidc_roles: Annotated[str, settings_types.readable(settings_types.roles)] = Field(
        "",
        description=(
            "Roles by the claim's values: `support=operator, it-admins=admin`. Any other value is"
            " refused."
        ),
    )
    dashboard_second_factor_roles: Annotated[
        str, settings_types.readable(settings_types.some_roles)
    ] = Field(
        "",
        description=(
            "Roles whose local users must set up a second factor before any other page opens:"
            " `viewer, operator, admin` for all of them; no role when empty."
        ),
    )
    dashboard_places: Annotated[str, settings_types.readable(settings_types.destinations)] = Field(
        "",
        description=(
            "Allowed destinations of alerts, warehouse queries and copies, separated by commas: a"
            " service, such as `slack://`; with a host, such as `postgresql://*.example.com`; a"
            " folder, such as `parquet:///srv/copies`. Any destination when empty. Alerts to this"
            " machine and into private networks need a service with its host (`json://10.0.0.5`)."
        ),
    )
    dashboard_insecure_cookies: bool = Field(
        False,
        description=(
            "Session cookies over plain http. Set by `dashboard demo`, which stays on this machine."
        ),
    )
    _unknown: tuple[str, ...] = PrivateAttr(())
    paths: dict[str, str] = Field(
        default_factory=dict,
        description="PELIQAN_PATH_<NAME>: another path for one of the API's routes.",
    )

    @field_validator("secret_key")
    @classmethod
    def _each_key_is_long(cls, value: str) -> str:
        if any(len(key.strip()) < 32 for key in value.split(",")):
            raise ValueError("each key needs 32 characters or more")
        return value

    @field_validator("database_url")
    @classmethod
    def _psycopg(cls, value: str) -> str:
        """Return the address for psycopg 3; hosting services write ``postgres://``."""
        for prefix in ("postgres://", "postgresql://"):
            if value.startswith(prefix):
                value = "postgresql+psycopg://" + value.removeprefix(prefix)
        if value and not value.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must begin with sqlite:/// or postgresql://")
        if value:
            _ensure_database_url(value)
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        from redis.connection import parse_url

        try:
            parse_url(value)  # type: ignore[no-untyped-call]
            readable = not value or value.startswith("unix://") or bool(urlsplit(value).hostname)
        except ValueError:
            readable = False
        if value and not readable:
            # Not redis' own message, since it may quote a part of the password.
            raise ValueError(
                "must be an address such as redis://:password@host:6379/0, or rediss:// for TLS"
            )
        return value

    @model_validator(mode="after")
    def _routes_exist(self) -> "Settings":
        from dashboard.peliqan.routes import Routes

        Routes(self.paths)
        return self

    @model_validator(mode="after")
    def _provider_is_complete(self) -> "Settings":
        if self.dashboard_oidc_issuer is not None:
            needed = ("dashboard_oidc_client_id", "dashboard_oidc_roles")
            missing = [name.upper() for name in needed if not getattr(self, name)]
            if missing:
                raise ValueError(
                    f"DASHBOARD_OIDC_ISSUER is set, so {' and '.join(missing)} must be, too"
                )
            if "openid" not in self.dashboard_oidc_scope.split():
                raise ValueError("DASHBOARD_OIDC_SCOPE must have the word openid in it")
        return self

    @model_validator(mode="after")
    def _widget_has_its_own_host(self) -> "Settings":
        if (
            self.widget_host
            and self.dashboard_url
            and self.widget_host == settings_types.netloc(self.dashboard_url)
        ):
            raise ValueError(
                "DASHBOARD_WIDGET_ORIGIN keeps the vendor's script apart:"
                " it must be another host than DASHBOARD_URL"
            )
        return self

    @model_validator(mode="after")
    def _redis_needs_postgresql(self) -> "Settings":
        if self.redis_url and not self.database_url.startswith("postgresql"):
            raise ValueError(
                "REDIS_URL shares the work among machines, but SQLite is a file on one of them:"
                " set DATABASE_URL to a PostgreSQL database, or leave REDIS_URL empty"
            )
        return self

    @model_validator(mode="after")
    def _hook_address_needs_secret(self) -> "Settings":
        if "://" in self.dashboard_hook and len(self.dashboard_hook_secret) < 16:
            raise ValueError(
                "DASHBOARD_HOOK is an address, and what is posted there is signed:"
                " set DASHBOARD_HOOK_SECRET to 16 characters or more"
            )
        return self

    @property
    def hook_tables(self) -> frozenset[str]:
        """Return the names of the tables that the hook gets, as written; empty for all."""
        names = {name.strip() for name in self.dashboard_hook_tables.split(",")} - {""}
        return frozenset() if "*" in names else frozenset(names)

    @property
    def thresholds(self) -> Thresholds:
        """Return the thresholds of the finding rules."""
        return Thresholds(
            late=self.dashboard_late_intervals,
            dark=self.dashboard_dark_intervals,
            stuck=self.dashboard_stuck_times,
            stuck_seconds=self.dashboard_stuck_seconds,
            consent_days=self.dashboard_consent_days,
            platform=self.dashboard_platform_connections,
        )

    @property
    def widget_host(self) -> str:
        """Return the widget's host, with its port unless it is the default; empty if unset."""
        return (
            settings_types.netloc(self.dashboard_widget_origin)
            if self.dashboard_widget_origin
            else ""
        )

    @property
    def path(self) -> str:
        """Return the console's path without a slash at its end; empty if it has the whole host."""
        return urlsplit(self.dashboard_url).path if self.dashboard_url else ""

    @property
    def cookie_prefix(self) -> str:
        """Return the prefix that binds a cookie to https; ``__Host-`` also to host and path ``/``.

        RFC 6265bis, section 4.1.3.
        """
        if self.dashboard_insecure_cookies:
            return ""
        return "__Secure-" if self.path else "__Host-"

    @property
    def hosts(self) -> frozenset[str]:
        """Return the host names that the console answers to, without ports; empty for any."""
        if self.dashboard_url is None:
            return frozenset()
        names = (
            urlsplit(url).hostname
            for url in (self.dashboard_url, self.dashboard_widget_origin)
            if url
        )
        return frozenset(name for name in names if name) | LOOPBACK

    @property
    def oidc_roles(self) -> dict[str, str]:
        """Return the roles by values of the role claim."""
        return settings_types.roles(self.dashboard_oidc_roles)

    @property
    def oidc_domains(self) -> frozenset[str]:
        """Return the domains whose addresses count as verified."""
        return settings_types.domains(self.dashboard_oidc_domains)

    @property
    def second_factor_roles(self) -> frozenset[str]:
        """Return the roles whose local users must have a second factor."""
        return settings_types.some_roles(self.dashboard_second_factor_roles)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return variables named like settings that are none: mistyped, newer, or the platform's.

        Kubernetes sets DASHBOARD_PORT and DASHBOARD_SERVICE_HOST for a service named dashboard
        (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
        """
        return self._unknown

    @property
    def egress_policy(self) -> EgressPolicy:
        """Return the allowed destinations of alerts, queries and copies."""
        own = OwnFiles(self.dashboard_data, next(iter(self.own_files), None))
        return EgressPolicy(settings_types.destinations(self.dashboard_places), own)

    @property
    def own_files(self) -> tuple[Path, ...]:
        """Return the file of the SQLite database; empty for another database."""
        path = (
            self.store_url.removeprefix("sqlite:///").partition("?")[0]
            if self.store_url.startswith("sqlite:///")
            else ""
        )
        return (Path(path),) if path not in {"", ":memory:"} else ()

    @property
    def secret_keys(self) -> list[str]:
        """Return the keys, the newest first."""
        return [key.strip() for key in self.secret_key.split(",")]

    @property
    def store_address(self) -> str:
        """Return the address for PostgreSQL's own programs; empty for SQLite."""
        return (
            self.database_url.replace("+psycopg", "", 1)
            if self.database_url.startswith("postgresql")
            else ""
        )

    @property
    def store_url(self) -> str:
        """Return ``DATABASE_URL``, or the address of the SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.dashboard_data.resolve() / 'console.db'}"


def read_settings(environ: dict[str, str] | None = None, env_file: Path = Path(".env")) -> Settings:
    """Read the settings from ``environ`` (default: the process's) and then from ``env_file``.

    Raises:
        SettingsError: a setting is missing or wrong. The message has one line for each setting, and
            no value of a secret.
    """
    source: dict[str, str | None] = {
        **dotenv_values(env_file),
        **(os.environ if environ is None else environ),
    }
    from dashboard.peliqan.routes import ROUTES

    names = {name.upper() for name in Settings.model_fields if name != "paths"}
    paths = {PATH_PREFIX + route.name.upper() for route in ROUTES}
    values: dict[str, Any] = {name.lower(): source[name] for name in names if source.get(name)}
    values["paths"] = {
        name.removeprefix(PATH_PREFIX).lower(): source[name] for name in paths if source.get(name)
    }
    # SCRIPT_NAME set the path in earlier versions; now DASHBOARD_URL does.
    ours = {
        name
        for name in source
        if name.startswith(("DASHBOARD_", PATH_PREFIX)) or name == "SCRIPT_NAME"
    }
    unknown = tuple(sorted(ours - names - paths))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems = [
            f"  {_name(problem['loc'])}: {_reason(problem)}"
            for problem in error.errors(include_input=False)
        ]
        problems += [f"  {name}: there is no such setting" for name in unknown]
        raise SettingsError("Settings need attention:\n" + "\n".join(problems)) from None
    settings._unknown = unknown
    return settings


def _ensure_database_url(value: str) -> None:
    """Return if SQLAlchemy can read an address.

    Raises:
        ValueError: it cannot. Not SQLAlchemy's message, which may quote a part of the password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(value)
    except (ArgumentError, ValueError):
        raise ValueError(
            "must be an address such as postgresql://user:password@host:5432/database,"
            " with special characters of the password as their codes: %40 for @, %2F for /"
        ) from None


def _name(location: tuple[int | str, ...]) -> str:
    return str(location[0]).upper() if location else "These together"


def _reason(problem: Any) -> str:
    return (
        "is missing"
        if problem["type"] == "missing"
        else str(problem["msg"]).removeprefix("Value error, ")
    )
