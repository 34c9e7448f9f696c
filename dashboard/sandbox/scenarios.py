"""Scenarios by name: fleets with one known problem, as seen from the start of the sandbox."""

import textwrap
from datetime import datetime
from typing import Final

from dashboard.sandbox import scenario_builder as stage
from dashboard.sandbox.connectors import (
    CLOSED,
    CONSENT,
    EXPIRED,
    NO_MODULE,
    OUT_OF_MEMORY,
    SCHEMA,
    TIMEOUT,
)
from dashboard.sandbox.scenario_builder import (
    EVERY_ONE,
    EVERY_SECOND,
    Change,
    Scenario,
    Staged,
    failing,
    placed,
)

_EXPIRED_TOKENS = Change("exact_online", EVERY_SECOND, failing(EXPIRED, hours=5))
_OUTAGE = Change("xero", EVERY_ONE, stage.resting_since_the_outage)
_STUCK = Change("odoo", slice(6), stage.hanging)
_CONSENTS = (
    Change("saltedge_kbc", EVERY_ONE, failing(CONSENT, days=1)),
    Change("SaltEdge_ING", EVERY_ONE, stage.consent_ending),
)
_TWO_ERRORS = (
    Change("teamleader", slice(6), failing(NO_MODULE, days=1)),
    Change("teamleader", slice(6, 10), failing(EXPIRED, hours=6)),
)

SCENARIOS: Final[dict[str, Scenario]] = {
    "quiet-night": Scenario("Nothing is wrong."),
    "expired-token-at-one-connector": Scenario(
        "Every second connection to Exact Online has failed for five hours: its token has expired.",
        (_EXPIRED_TOKENS,),
    ),
    "platform-outage": Scenario(
        "For five hours no run of any connection to Xero has been started, "
        "and all say that they are well.",
        (_OUTAGE,),
    ),
    "stuck-runs": Scenario(
        "Of six connections to Odoo a run began five hours ago and never ends.", (_STUCK,)
    ),
    "bank-consents-expire": Scenario(
        "All consents of KBC ran out a day ago; those of ING end within three days, "
        "and then fail too.",
        _CONSENTS,
    ),
    "schema-change": Scenario(
        "Seven connections to Odoo have failed for two days: a column has another type.",
        (Change("odoo", slice(7), failing(SCHEMA, days=2)),),
    ),
    "loaded-nothing": Scenario(
        "All connections to Shopify go well, but have loaded nothing for more than an hour.",
        (Change("shopify", EVERY_ONE, stage.loading_nothing(hours=1.25)),),
    ),
    "switched-off": Scenario(
        "Three connections to Teamleader are disabled, three to HubSpot have no schedule, "
        "four of Yuki's sources switched themselves off.",
        (
            Change("teamleader", slice(3), placed("DISABLED")),
            Change("hubspot", slice(3), stage.unscheduled),
            Change("yuki", slice(4), failing(CLOSED, hours=6)),
        ),
    ),
    "unreadable-accounts": Scenario(
        "The licences of five accounts have expired: nothing of them can be read.", unreadable=5
    ),
    "half-configured": Scenario(
        "Four connections to Teamleader wait for their settings, three to WooCommerce never ran, "
        "two to Exact Online are there twice, two to HubSpot load into nothing.",
        (
            Change("teamleader", slice(4), placed("CONFIG_SELECT")),
            Change("woocommerce", slice(3), stage.never_run),
            Change("exact_online", slice(2), stage.duplicated, one_an_account=True),
            Change("hubspot", slice(2), stage.astray),
        ),
    ),
    "new-words": Scenario(
        "Three connections to Yuki have an undocumented status, and run well.",
        (Change("yuki", slice(3), placed("PAUSED_BY_VENDOR")),),
    ),
    "two-errors-at-one-connector": Scenario(
        "Six connections to Teamleader lack a module, four others have an expired token.",
        _TWO_ERRORS,
    ),
    "late-runs": Scenario(
        "The newest runs of five connections to Yuki went well two and a half intervals ago.",
        (Change("yuki", slice(5), stage.late),),
    ),
    "noisy": Scenario(
        "The newest runs of four connections to Xero timed out, "
        "shortly after others that went well.",
        (Change("xero", slice(4), stage.noisy),),
    ),
    "stale-rows": Scenario(
        "The runs of three connections to Yuki go well and say that they load rows, "
        "but the newest row is two days old.",
        (Change("yuki", slice(3), stage.losing_rows(days=2), alone=True),),
    ),
    "rows-dropped": Scenario(
        "Ten minutes after the start the tables of three connections to Yuki lose "
        "four rows of ten; their runs go well.",
        (Change("yuki", slice(3), stage.shrinking(minutes=10), alone=True),),
    ),
    "runner-crashes": Scenario(
        "Peliqan's own runner has crashed for six hours in all runs of three connections "
        "to NetSuite and two to Odoo; "
        "the source of three to WooCommerce has timed out for as long.",
        (
            Change("netsuite", slice(3), failing(OUT_OF_MEMORY, hours=6)),
            Change("odoo", slice(2), failing(OUT_OF_MEMORY, hours=6)),
            Change("woocommerce", slice(3), failing(TIMEOUT, hours=6)),
        ),
    ),
    "unused-target": Scenario(
        "Two accounts have a second database as target, and none of their sources loads into it.",
        (Change("odoo", slice(2), stage.with_unused_target, one_an_account=True),),
    ),
    "other-names": Scenario(
        "Nothing is wrong, but the API describes Yuki with its other field names: "
        "connection_id, row_count, tables as JSON in a text, no run_interval.",
        (Change("yuki", EVERY_ONE, stage.with_other_names),),
    ),
    "wrong-data": Scenario(
        "All runs go well, but one table of each of some connections has wrong rows: "
        "duplicate keys (Yuki), two snapshots at once (Odoo), no new rows for ten days (NetSuite), "
        "or a table without rows whose child table has some (Shopify).",
        tuple(
            Change(connector, slice(3), stage.faulty_data(fault))
            for connector, fault in (
                ("yuki", "duplicate_keys"),
                ("odoo", "mixed_versions"),
                ("netsuite", "table_stale"),
                ("shopify", "parent_table_empty"),
                ("xero", "versions_retired"),
                ("teamleader", "parent_has_rows"),
            )
        ),
    ),
    "connected-anew": Scenario(
        "Three customers connected Exact Online again under another name; "
        "the new connections never ran.",
        (Change("exact_online", slice(3), stage.reconnected, alone=True),),
    ),
    "incident-night": Scenario(
        "Expired tokens, the outage, stuck runs, two errors at one connector and bank consents, "
        "all in one night.",
        (_EXPIRED_TOKENS, _OUTAGE, _STUCK, *_CONSENTS, *_TWO_ERRORS),
    ),
}


def staged(name: str, accounts: int, seed: int, born: datetime) -> Staged:
    """Return the fleet of a scenario.

    Raises:
        ValueError: the scenario does not exist.
    """
    if name not in SCENARIOS:
        known = ", ".join(SCENARIOS)
        raise ValueError(f"There is no scenario {name}. There are {known}.")
    return Staged(accounts, seed, SCENARIOS[name], born)


def listing() -> str:
    """Return all scenarios with their descriptions, as text for a terminal."""
    wide = max(map(len, SCENARIOS)) + 4
    return "\n".join(
        textwrap.fill(
            each.description,
            110,
            initial_indent=f"  {name}".ljust(wide),
            subsequent_indent=" " * wide,
        )
        for name, each in SCENARIOS.items()
    )
