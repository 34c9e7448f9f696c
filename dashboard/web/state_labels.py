"""The words, colours and icons with which pages show states: one table a kind of state.

Templates read the tables as ``labels.EXPORT_STATES[state]``; filters of lists read their texts by
``labels.texts``.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class SeverityLabel(NamedTuple):
    """A severity, or a state with a colour of its own.

    ``icon``: its name in static/vendor/icons.svg.
    """

    text: str
    icon: str


class StateLabel(NamedTuple):
    """A state of some object.

    ``tone``: the key of ``SEVERITY_LABELS`` that gives its badge colour and icon.
    """

    tone: str
    text: str


class ActionButton(NamedTuple):
    """A button on a connection's page.

    ``form``: the id of the form that has the reason; the button has its own form where empty.
    """

    endpoint: str
    text: str
    icon: str
    help: str = ""
    form: str = ""


# The CSS class of each is ``status-<key>``.
SEVERITY_LABELS: Final = {
    "ok": SeverityLabel("OK", "circle-check"),
    "busy": SeverityLabel("Busy", "loader-2"),
    "attention": SeverityLabel("Attention", "alert-triangle"),
    "error": SeverityLabel("Error", "alert-octagon"),
    "off": SeverityLabel("Off", "circle-off"),
    "unknown": SeverityLabel("Unknown", "help-circle"),
    "critical": SeverityLabel("Critical", "alert-octagon"),
    "warning": SeverityLabel("Warning", "alert-triangle"),
    "info": SeverityLabel("Info", "info-circle"),
    "new": SeverityLabel("New", "sparkles"),
    "open": SeverityLabel("Open", "circle-dot"),
    "unchecked": SeverityLabel("Unchecked", "help-circle"),
    "suppressed": SeverityLabel("Suppressed", "bell-off"),
    "recovered": SeverityLabel("Recovered", "circle-check"),
}

ACTION_BUTTONS: Final = {
    "sync": ActionButton("connections.start_sync", "Sync now", "refresh", form="act"),
    "reauthorise": ActionButton(
        "connections.reauthorise",
        "Reauthorise",
        "key",
        "Asks Peliqan for a link with which the customer allows access again",
        "act",
    ),
    "saltedge_refresh": ActionButton(
        "connections.saltedge_refresh",
        "Refresh bank",
        "building-bank",
        "Asks for a link with which the bank hands over new transactions; once an hour at most",
        "act",
    ),
    "check": ActionButton("connections.check", "Check now", "activity"),
}
# Actions of users on a connection, as sentences name them.
ACTION_KINDS: Final = {
    "sync": "sync",
    "reauthorise": "reauthorise",
    "saltedge_refresh": "bank refresh",
}
# Outcomes of actions, by their stored word; the key "" stands for an action that is not finished.
ACTION_OUTCOMES: Final = {
    "worked": StateLabel("ok", "worked"),
    "no_effect": StateLabel("off", "no effect"),
    "worse": StateLabel("error", "made it worse"),
}
OUTCOME_FILTERS: Final = {
    "worked": "Worked",
    "no_effect": "No effect",
    "worse": "Made it worse",
    "sync": "Sync",
    "reauthorise": "Reauthorise",
    "saltedge_refresh": "Bank refresh",
}

# Tones of alert messages and of entries of the audit trail, whose text is the stored word.
ALERT_MESSAGE_TONES: Final = {
    "waiting": "open",
    "sent": "ok",
    "failed": "error",
    "dropped": "off",
    "known": "unknown",
}
AUDIT_TONES: Final = {
    "done": "ok",
    "failed": "error",
    "refused": "attention",
    "pending": "busy",
    "unknown": "unknown",
}
WEBHOOK_EVENT_TONES: Final = {"done": "ok", "failed": "error", "ignored": "off", "waiting": "busy"}
WEBHOOK_EVENT_FILTERS: Final = {
    "waiting": "Waiting",
    "done": "Done",
    "ignored": "Ignored",
    "failed": "Failed",
}

ACCOUNT_FILTERS: Final = {"yes": "Readable", "no": "Unreadable"}
CAUSE_FILTERS: Final = {
    "critical": "Critical",
    "warning": "Warning",
    "info": "Info",
    "me": "Me",
    "nobody": "Nobody",
    "others": "Somebody else",
}
FINDING_FILTERS: Final = {
    "critical": "Critical",
    "warning": "Warning",
    "info": "Info",
    "yes": "Peliqan says OK",
    "no": "Peliqan says so too",
}

BULK_KINDS: Final = {"sync": "Sync", "reauthorise": "Reauthorisation links"}
# Of a bulk job and of its items.
BULK_STATES: Final = {
    "trying": StateLabel("busy", "Trying on one"),
    "tried": StateLabel("attention", "Waits for a decision"),
    "running": StateLabel("busy", "Under way"),
    "done": StateLabel("ok", "Done"),
    "cancelled": StateLabel("off", "Cancelled"),
    "waiting": StateLabel("off", "Waiting"),
    "no_effect": StateLabel("attention", "No effect"),
    "failed": StateLabel("error", "Failed"),
    "left_out": StateLabel("off", "Left out"),
}
# What became of a link that a bulk job made, by the state of its action.
BULK_LINK_STATES: Final = {
    "done": "followed: it is well again",
    "superseded": "replaced by a newer one",
    "failed": "run out",
}

# Links that customers are to follow.
LINK_KINDS: Final = {
    "reauthorise": "Reauthorise",
    "saltedge_refresh": "Bank refresh",
    "invite": "Invite",
}
LINK_STAGES: Final = {
    "remind": StateLabel("attention", "Nothing followed: remind them"),
    "unsent": StateLabel("open", "Not sent yet"),
    "sent": StateLabel("busy", "Sent, waiting"),
    "followed": StateLabel("ok", "Somebody follows it"),
}
LINK_RESULTS: Final = {
    "done": StateLabel("ok", "It worked"),
    "failed": StateLabel("error", "It failed"),
    "superseded": StateLabel("unknown", "Replaced by a newer one"),
}
LINK_FILTERS: Final = {"auth_failed": "Access is refused", "consent_expiring": "A consent ends"}
BANK_REVIEW_STATES: Final = {
    "to_do": StateLabel("open", "To do"),
    "ticked": StateLabel("busy", "Ticked off"),
    "back": StateLabel("recovered", "Came back"),
}
BANK_CONSENT_STATES: Final = {
    "ended": StateLabel("error", "Ended: needs the customer"),
    "ending": StateLabel("attention", "About to end"),
    "lasting": StateLabel("ok", "Lasts"),
    "untold": StateLabel("off", "Not told"),
}

# A sync that was started on a connection's page: while it is under way, and as it ended.
SYNC_UNDER_WAY: Final = {
    "starting": "Starting",
    "running": "Syncing",
    "unknown": "Outcome unknown, checking",
}
SYNC_RESULTS: Final = {
    "done": StateLabel("ok", "Sync completed"),
    "failed": StateLabel("error", "Sync failed"),
    "stuck": StateLabel("attention", "Sync is stuck"),
}

DELIVERY_STATES: Final = {
    "waiting": StateLabel("busy", "Waits for a run"),
    "reading": StateLabel("busy", "Looks for tables"),
    "sending": StateLabel("busy", "Sending"),
    "delivered": StateLabel("ok", "Delivered"),
    "dead": StateLabel("error", "Given up"),
    "cancelled": StateLabel("off", "Cancelled"),
}
EXPORT_STATES: Final = {
    "waiting": StateLabel("busy", "Waits for a worker"),
    "running": StateLabel("busy", "Under way"),
    "done": StateLabel("ok", "Ready"),
    "failed": StateLabel("error", "Failed"),
    "cancelled": StateLabel("off", "Cancelled"),
    "expired": StateLabel("off", "Deleted after a day"),
}
# Formats of a whole table, by the file's suffix.
EXPORT_FORMATS: Final = {"csv": "CSV", "jsonl": "JSON Lines", "parquet": "Parquet"}
PULL_STATES: Final = {
    "running": StateLabel("busy", "Running"),
    "done": StateLabel("ok", "Done"),
    "partly": StateLabel("attention", "Some failed"),
    "failed": StateLabel("error", "Failed"),
    "stopped": StateLabel("off", "Stopped, begins anew"),
    "lost": StateLabel("unknown", "Ended without a word"),
}
QUERY_STATES: Final = {
    "waiting": StateLabel("busy", "Waiting"),
    "running": StateLabel("busy", "Being asked"),
    "done": StateLabel("ok", "Answered"),
    "failed": StateLabel("error", "Failed"),
    "cancelled": StateLabel("off", "Cancelled"),
    "incomplete": StateLabel("attention", "Incomplete"),
}
# Titles of the message above a query's rows, by the result's state; any other state has the last.
QUERY_PROBLEM_TITLES: Final = {
    "incomplete": "It broke off: these rows are not all",
    "failed": "The warehouse did not answer",
    "cancelled": "Cancelled",
}
OTHER_QUERY_PROBLEM: Final = "Not all of it"

# Kinds of events on a timeline.
EVENT_KINDS: Final = {
    "health": SeverityLabel("Health", "activity"),
    "run": SeverityLabel("Runs", "refresh"),
    "action": SeverityLabel("Done by people", "user"),
    "finding": SeverityLabel("Findings", "stethoscope"),
    "note": SeverityLabel("Notes", "note"),
    "webhook": SeverityLabel("Webhooks", "webhook"),
    "audit": SeverityLabel("Other entries", "list-details"),
}

ROLES: Final = {
    "viewer": "sees everything, changes nothing",
    "operator": "syncs, reauthorises, opens the widget",
    "admin": "also people and the audit trail",
}
# What an alert rule can send.
ALERT_KINDS: Final = {
    "new": "a message when something breaks, one a cause",
    "recovered": "a message when what was told is over",
    "digest": "once a day: new, worse, recovered, still open",
}


def texts(*tables: Mapping[str, StateLabel | SeverityLabel | str]) -> dict[str, str]:
    """Return the texts of all tables by their keys, for the choices of a list's filters."""
    return {
        key: label if isinstance(label, str) else label.text
        for table in tables
        for key, label in table.items()
    }
