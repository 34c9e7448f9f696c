"""Every setting of the console in one table: name, type, default, meaning. Read from the environment and a ``.env`` file.

All wrong or missing ones are named together in one message (``SettingsError``), so that an operator mends them in one go.
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
    """One message that names every wrong or missing setting."""


Origin = Annotated[str, BeforeValidator(settings_types.origin)]
ConsoleUrl = Annotated[str, BeforeValidator(settings_types.console_url)]
ConsoleHost = Annotated[str, BeforeValidator(settings_types.console_host)]


class Settings(BaseModel):
    """The settings, checked. Field names are the environment's names in lower case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    secret_key: str = Field(
        min_length=32,
        repr=False,
        description="Signs sessions and encrypts customers' tokens. Several, separated by commas: the first signs, all are read.",
    )
    database_url: str = Field(
        "",
        repr=False,
        description="SQLAlchemy address of the store; SQLite in DASHBOARD_DATA when empty.",
    )
    redis_url: str = Field(
        "",
        repr=False,
        description="Work queue and limits over several machines; embedded when empty.",
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
        description="What Peliqan signs its webhooks with; unsigned ones are accepted when empty.",
    )
    peliqan_webhook_header: str = Field(
        "X-Peliqan-Signature",
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="The header that carries a webhook's signature.",
    )
    dashboard_data: Path = Field(
        Path("instance"), description="Folder for the SQLite store and queue."
    )
    dashboard_url: ConsoleUrl | None = Field(
        None,
        description="Where people reach this console, with its path where it has one (`https://example.com/console`): all links"
        " begin with it, and it answers to this host name alone (and on its own machine); without it, to any.",
    )
    dashboard_widget_origin: ConsoleHost | None = Field(
        None,
        description="Second host name of this console for the widget's frame, where the vendor's script wants storage.",
    )
    dashboard_proxies: int = Field(
        0,
        ge=0,
        le=9,
        description="How many proxies stand in front, each of which adds to X-Forwarded-For whom it was asked by: attempts to"
        " sign in are counted by that address. Without `DASHBOARD_URL`, X-Forwarded-Proto is read in the same manner.",
    )
    dashboard_refresh_interval: int = Field(
        300, ge=5, le=86400, description="Seconds between two passes over the fleet."
    )
    dashboard_keep_history_days: int = Field(
        90,
        ge=7,
        le=3650,
        description="Days that status changes, runs, passes and refused requests are kept; the rest of the audit trail stays.",
    )
    dashboard_watch_interval: float = Field(
        15, ge=0.1, le=600, description="Seconds between looks at a running sync; later 2x, 4x."
    )
    dashboard_api_concurrency: int = Field(
        8, ge=1, le=256, description="Calls to the API in flight at once, in each worker."
    )
    dashboard_api_rate: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Requests a second to the API, over all processes that share a Redis; no limit when empty.",
    )
    dashboard_api_timeout: float = Field(
        15, gt=0, le=300, description="Seconds to wait for an answer of the API."
    )
    dashboard_late_intervals: float = Field(
        2,
        ge=1,
        le=100,
        description="Data is late when the last success is older than so many of the connection's intervals.",
    )
    dashboard_dark_intervals: float = Field(
        3, ge=1, le=100, description="And dark when it is older than so many."
    )
    dashboard_stuck_times: float = Field(
        3,
        ge=1,
        le=100,
        description="A run is stuck when it takes longer than so many times its connector's median,",
    )
    dashboard_stuck_seconds: int = Field(
        3600, ge=60, le=604800, description="and longer than so many seconds."
    )
    dashboard_consent_days: int = Field(
        7, ge=1, le=90, description="Days before its end that a bank's consent is a finding."
    )
    dashboard_platform_connections: int = Field(
        10,
        ge=2,
        le=10_000,
        description="So many connections of one connector, dark since the same hour, are one cause.",
    )
    dashboard_playbook: Path | None = Field(
        None,
        description="Folder of a playbook of your own; the one that comes with the console when empty.",
    )
    dashboard_masks: Path | None = Field(
        None,
        description="File of rules of your own for masking personal data; the one that comes with the console when empty.",
    )
    dashboard_export_role: Literal["viewer", "operator", "admin"] = Field(
        "operator",
        description="The least role that may export whole tables: `viewer`, `operator` or `admin`.",
    )
    dashboard_bulk_at_once: int = Field(
        5, ge=1, le=100, description="Connections of a bulk job that are worked on at a time."
    )
    dashboard_bulk_most: int = Field(
        200,
        ge=1,
        le=100_000,
        description="Connections in an operator's bulk job; an administrator's has no limit.",
    )
    dashboard_hook: Annotated[str, BeforeValidator(settings_types.hook)] = Field(
        "",
        repr=False,
        description="Where tables of new connections are handed over: a function, `module:function`, or an https address.",
    )
    dashboard_hook_tables: str = Field(
        "*",
        description="Which: names with commas, with or without the connector's in front, or `*` for all of the connection.",
    )
    dashboard_hook_secret: str = Field(
        "",
        repr=False,
        description="What is signed with that is posted to the hook's address: 16 characters or more.",
    )
    dashboard_metrics_token: str = Field(
        "",
        repr=False,
        description="Who sends it as a bearer token may read `/metrics`; this machine alone when empty.",
    )
    dashboard_log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info",
        description="The least that `serve` and `worker` tell: `debug`, `info` (a line a request), `warning` or `error`.",
    )
    dashboard_oidc_issuer: Origin | None = Field(
        None,
        description="Issuer address of an OpenID Connect provider that people may sign in with; local users alone when empty.",
    )
    dashboard_oidc_client_id: str = Field(
        "", description="This console's client id at the provider."
    )
    dashboard_oidc_client_secret: str = Field(
        "", repr=False, description="Its secret; empty for a public client, which has PKCE alone."
    )
    dashboard_oidc_name: str = Field(
        "", max_length=60, description="What the button calls the provider; its host when empty."
    )
    dashboard_oidc_scope: str = Field(
        "openid email profile",
        description="What is asked for; some providers want `groups` added to tell them.",
    )
    dashboard_oidc_email_claim: str = Field(
        "email",
        min_length=1,
        description="The claim that tells a person's e-mail address: `preferred_username` or `upn` for Entra ID.",
    )
    dashboard_oidc_domains: Annotated[str, settings_types.readable(settings_types.domains)] = Field(
        "",
        description="Domains whose addresses are the provider's own, as `example.com, example.org`: these count as verified"
        " without `email_verified`, which Entra ID does not send. An address of any other domain needs it.",
    )
    dashboard_oidc_role_claim: str = Field(
        "roles",
        min_length=1,
        description="The claim that tells a person's role; dots lead into objects: `realm_access.roles`.",
    )
    dashboard_oidc_roles: Annotated[str, settings_types.readable(settings_types.roles)] = Field(
        "",
        description="Which of its values is which role: `support=operator, it-admins=admin`. Any other value is refused.",
    )
    dashboard_second_factor_roles: Annotated[
        str, settings_types.readable(settings_types.some_roles)
    ] = Field(
        "",
        description="Roles whose people with a password here must set up a second factor before anything else opens:"
        " `viewer, operator, admin` for all of them; nobody must when empty.",
    )
    dashboard_places: Annotated[str, settings_types.readable(settings_types.places)] = Field(
        "",
        description="Where administrators may send alerts, ask warehouses and keep copies, with commas between: a service, as"
        " `slack://`; with a host, as `postgresql://*.example.com`; a folder, as `parquet:///srv/copies`. Anywhere when empty,"
        " but alerts to this machine and into private networks only where a service is named with its host (`json://10.0.0.5`).",
    )
    dashboard_insecure_cookies: bool = Field(
        False,
        description="Session cookies over plain http: set by `dashboard demo`, which stays on this machine.",
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
        """``postgres://`` as hosting services write it, and SQLAlchemy's default driver, both mean psycopg 3 here."""
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
            # redis' own sentence may quote a part of the password.
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
    def _a_provider_is_whole(self) -> "Settings":
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
    def _the_widget_is_apart(self) -> "Settings":
        if (
            self.widget_host
            and self.dashboard_url
            and self.widget_host == settings_types.netloc(self.dashboard_url)
        ):
            raise ValueError(
                "DASHBOARD_WIDGET_ORIGIN keeps the vendor's script apart: it must be another host than DASHBOARD_URL"
            )
        return self

    @model_validator(mode="after")
    def _redis_is_for_several_machines(self) -> "Settings":
        if self.redis_url and not self.database_url.startswith("postgresql"):
            raise ValueError(
                "REDIS_URL shares the work among machines, but SQLite is a file on one of them:"
                " set DATABASE_URL to a PostgreSQL database, or leave REDIS_URL empty"
            )
        return self

    @model_validator(mode="after")
    def _a_hooks_address_is_signed_for(self) -> "Settings":
        if "://" in self.dashboard_hook and len(self.dashboard_hook_secret) < 16:
            raise ValueError(
                "DASHBOARD_HOOK is an address, and what is posted there is signed:"
                " set DASHBOARD_HOOK_SECRET to 16 characters or more"
            )
        return self

    @property
    def hook_tables(self) -> frozenset[str]:
        """Names of the tables that the hook gets, as they were written; none where it gets all."""
        names = {name.strip() for name in self.dashboard_hook_tables.split(",")} - {""}
        return frozenset() if "*" in names else frozenset(names)

    @property
    def thresholds(self) -> Thresholds:
        """From when on something is a finding."""
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
        """The widget's own host, with its port where it is not the usual one; empty where it has none."""
        return (
            settings_types.netloc(self.dashboard_widget_origin)
            if self.dashboard_widget_origin
            else ""
        )

    @property
    def path(self) -> str:
        """The path below which the console answers, without a slash at its end; empty where it has the whole host."""
        return urlsplit(self.dashboard_url).path if self.dashboard_url else ""

    @property
    def cookie_prefix(self) -> str:
        """Make browsers hold a cookie to https, and with ``__Host-`` to this host and the path ``/`` (RFC 6265bis, 4.1.3)."""
        if self.dashboard_insecure_cookies:
            return ""
        return "__Secure-" if self.path else "__Host-"

    @property
    def hosts(self) -> frozenset[str]:
        """The host names that the console answers to, without ports; empty where it answers to any."""
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
        """Roles by the claim's values."""
        return settings_types.roles(self.dashboard_oidc_roles)

    @property
    def oidc_domains(self) -> frozenset[str]:
        """Domains whose addresses count as verified."""
        return settings_types.domains(self.dashboard_oidc_domains)

    @property
    def second_factor_roles(self) -> frozenset[str]:
        """Roles whose local users must have a second factor."""
        return settings_types.some_roles(self.dashboard_second_factor_roles)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Variables that are named as settings are and are none: mistyped, a newer version's, or the platform's.

        Kubernetes sets DASHBOARD_PORT and DASHBOARD_SERVICE_HOST where a service is named dashboard
        (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
        """
        return self._unknown

    @property
    def places(self) -> EgressPolicy:
        """Where administrators may send the console."""
        own = OwnFiles(self.dashboard_data, next(iter(self.own_files), None))
        return EgressPolicy(settings_types.places(self.dashboard_places), own)

    @property
    def own_files(self) -> tuple[Path, ...]:
        """The store's file, where it is one."""
        path = (
            self.store_url.removeprefix("sqlite:///").partition("?")[0]
            if self.store_url.startswith("sqlite:///")
            else ""
        )
        return (Path(path),) if path not in {"", ":memory:"} else ()

    @property
    def secret_keys(self) -> list[str]:
        """Newest first."""
        return [key.strip() for key in self.secret_key.split(",")]

    @property
    def store_address(self) -> str:
        """The store as PostgreSQL's own programs take it, to know it by; empty where it is SQLite."""
        return (
            self.database_url.replace("+psycopg", "", 1)
            if self.database_url.startswith("postgresql")
            else ""
        )

    @property
    def store_url(self) -> str:
        """``DATABASE_URL``, or the SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.dashboard_data.resolve() / 'console.db'}"


def read_settings(environ: dict[str, str] | None = None, env_file: Path = Path(".env")) -> Settings:
    """Settings from ``environ`` (default: the process's), over those of ``env_file``.

    Raises:
        SettingsError: something is missing or wrong; the message has one line a setting and never a secret's value.
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
    # SCRIPT_NAME said the path once: DASHBOARD_URL does now.
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
    """Return if SQLAlchemy can read an address; its own sentence may quote a part of the password."""
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
