"""A store of searchable names that databases fold differently, and ways to spell them."""

import string
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unicodedata import normalize

from flask import Flask

from dashboard.actions.models import Action
from dashboard.alerts.models import AlertMessage, AlertRule
from dashboard.audit.models import AuditEntry
from dashboard.bulk.models import BulkItem, BulkJob
from dashboard.cli.common import upgrade_schema
from dashboard.core.database import db
from dashboard.customer_links.banks.models import BankReview
from dashboard.deliveries.models import Delivery
from dashboard.findings.models import Cause, Finding
from dashboard.fleet import counters
from dashboard.fleet.models import Account, AccountRefreshState, Connection
from dashboard.pulls.models import PullRun, PullSchedule
from dashboard.sql.models import SavedQuery
from dashboard.users import service as users
from dashboard.users.models import User
from dashboard.webhooks.models import WebhookEvent
from tests.support.people import PASSWORD, PASSWORD_HASH

AT = datetime(2026, 3, 31, 7, 12, tzinfo=UTC)
NAMES = (
    "École", "Ørsted", "РОМАШКА", "Straße", "İstanbul", "Kırıkkale", "ΟΔΥΣΣΕΥΣ", "ﬁnance",
    "\u212bngström", "Ko\u0308ln", "Ｆｕｌｌ", "Crédit\u00a0Agricole", "soft\u00adware",
    "zero\u200bwidth", "ｶﾞｰﾃﾞﾝ", "a%b_c\\d/e", "Zebra", "apple",
)  # fmt: skip
_WIDE = str.maketrans(
    {each: chr(ord(each) + 0xFEE0) for each in string.ascii_letters + string.digits}
)
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it stands": str,
    "in capitals": str.upper,
    "in small letters": str.lower,
    "with cases swapped": str.swapcase,
    "in NFC": partial(normalize, "NFC"),
    "in NFD": partial(normalize, "NFD"),
    "in NFKC": partial(normalize, "NFKC"),
    "in NFKD": partial(normalize, "NFKD"),
    "in full width": lambda text: text.translate(_WIDE),
    "with blanks of other kinds": lambda text: (
        f"\u3000\t{text.replace(chr(0xA0), f' {chr(0x202F)} ')}\u00a0 "
    ),
    "with invisible characters": lambda text: "\u200b".join([text[:3], *text[3:]]) + "\ufeff",
}
# By the path of each list: the prefixes of names in each searched text, and how many rows have
# such a name.
SEARCHED: dict[str, dict[str, int]] = {
    "/accounts": {"qa": 1, "qb": 1},
    "/connections": {"qa": 2, "qb": 2, "qc": 1, "qd": 1, "qe": 1, "qf": 1},
    "/findings": {"qa": 1, "qb": 1, "qc": 1, "qd": 1, "qg": 1},
    "/causes": {"qd": 1, "qh": 1, "qi": 1},
    "/causes/1": {"qa": 1, "qb": 1, "qc": 1, "qd": 1, "qg": 1},
    "/desk": {"qa": 1, "qb": 1, "qe": 1, "qf": 1, "sa": 1},
    "/desk/needed": {"qa": 1, "qb": 1, "qc": 1, "qd": 1, "qg": 1},
    "/desk/banks": {"qa": 1, "qb": 1, "qe": 1, "qf": 1},
    "/bulk": {"qk": 1, "ql": 1},
    "/bulk/1": {"qa": 1, "qb": 1, "qc": 1, "qd": 1, "qm": 1},
    "/receipts": {"qa": 2, "qb": 2, "qc": 1, "qd": 1, "qe": 1, "qj": 1, "qn": 1, "qo": 1, "sa": 1},
    "/pulls": {"qp": 1, "qq": 1, "qr": 1},
    "/pulls/1": {"qs": 1, "qt": 1, "qu": 1, "qv": 1},
    "/deliveries": {"qa": 1, "qb": 1, "qc": 1, "qd": 1, "qw": 1, "qx": 1},
    "/audit": {"qy": 1, "qz": 1},
    "/users": {"ra": 1},
    "/webhooks": {"rb": 1, "rc": 1, "rd": 1, "re": 1},
    "/alerts": {"rf": 1, "rg": 1, "rh": 1},
    "/alerts/messages": {"rf": 1, "ri": 1, "rj": 1},
}


def fill(app: Flask) -> None:
    """Fill an empty store with a row of each kind for each name, and an administrator, Adam."""
    upgrade_schema(app)
    with app.app_context():
        users.create_user("adam@example.com", "admin", PASSWORD, AT).password_hash = PASSWORD_HASH
        entry = AuditEntry(at=AT, who="adam@example.com", what="made", result="done")
        db.session.add(entry)
        db.session.flush()
        for number, name in enumerate(NAMES, 1):
            for part in (_fleet, _work, _pulls, _alerts, _rest):
                db.session.add_all(part(number, name, entry.id))
                db.session.commit()
        counters.recount()
        db.session.remove()
        db.engine.dispose()


def _fleet(number: int, name: str, _audit_id: int) -> list[Any]:
    account_id = 1000 + number
    values = {
        "severity": "error",
        "status": "ERROR",
        "status_since": AT,
        "first_seen_at": AT,
        "looked_at": AT,
    }
    judged = {
        "rule": "auth_failed",
        "connector": f"qd{name}",
        "severity": "critical",
        "state": "open",
    }
    cause = Cause(
        id=number, key=str(number), text=f"qh{name}", example=f"qi{name}", since=AT, **judged
    )
    account = Account(
        id=account_id,
        name=f"qa{name}",
        external_id=f"qb{name}",
        first_seen_at=AT,
        check=AccountRefreshState(due_at=None),
    )
    bank = f"saltedge qf{name}"
    key = {"account_id": account_id, "id": number}
    return [
        account,
        Connection(**key, name=f"qc{name}", connector=f"qd{name}", **values),
        Connection(**{**key, "id": 100 + number}, name=f"qe{name}", connector=bank, **values),
        cause,
        # All findings have one cause, whose page lists them.
        Finding(
            account_id=account_id,
            connection_id=number,
            cause_id=1,
            evidence=f"qg{name}",
            first_seen_at=AT,
            confirmed_at=AT,
            **judged,
        ),
    ]


def _work(number: int, name: str, audit_id: int) -> list[Any]:
    key = {"account_id": 1000 + number, "audit_id": audit_id}
    job = {"kind": "sync", "state": "done", "at_once": 1, "audit_id": audit_id, "started_at": AT}
    sync = Action(
        kind="sync",
        state="done",
        connection_id=number,
        started_by=f"qj{name} asked",
        started_at=AT,
        settled_at=AT,
        connector=f"qd{name}",
        why=f"qn{name}",
        detail=f"qo{name}",
        **key,
    )
    link = Action(
        kind="reauthorise",
        state="waiting",
        in_flight=str(number),
        connection_id=100 + number,
        started_by=f"sa{name}",
        started_at=AT,
        connector=f"qf{name}",
        **key,
    )
    delivery = Delivery(
        key=str(number),
        connection_id=number,
        who=f"qw{name}",
        state="dead",
        asked_at=AT,
        waits_since=AT,
        error=f"qx{name}",
        **key,
    )
    made = [
        sync,
        link,
        BulkJob(id=number, who=f"qk{name}", why=f"ql{name}", canary_id=number, **job),
        delivery,
    ]
    if number == 2:
        made.append(BankReview(account_id=1002, connection_id=102, at=AT, who="adam@example.com"))
    return made


def _pulls(number: int, name: str, audit_id: int) -> list[Any]:
    schedule = PullSchedule(
        id=number,
        name=f"qp{name}",
        address=b"x",
        place=f"qq{name}",
        chosen={},
        every=1440,
        full_every=10,
        on=False,
        created_at=AT,
        created_by=f"qr{name}",
    )
    run = PullRun(
        schedule_id=1,
        name=f"qs{name}",
        place=f"qt{name}",
        who=f"qu{name}",
        audit_id=audit_id,
        state="failed",
        began_at=AT,
        ended_at=AT,
        error=f"qv{name}",
    )
    return [schedule, run]


def _alerts(number: int, name: str, _audit_id: int) -> list[Any]:
    rule = AlertRule(
        id=number,
        name=f"rf{name}",
        address=b"x",
        place=f"rg{name}",
        sends="new",
        severity="critical",
        created_at=AT,
        created_by=f"rh{name}",
    )
    message = AlertMessage(
        rule_id=number,
        key=str(number),
        subject=f"ri{name}",
        body="",
        state="failed",
        created_at=AT,
        error=f"rj{name}",
    )
    return [rule, message]


def _rest(number: int, name: str, _audit_id: int) -> list[Any]:
    event = WebhookEvent(
        key=f"rc{name}",
        received_at=AT + timedelta(seconds=number),
        event=f"rb{name}",
        status=f"rd{name}",
        body="{}",
        state="done",
        detail=f"re{name}",
    )
    item = {"job_id": 1, "account_id": 1000 + number, "connection_id": number}
    query = {"text": "select 1", "parameters": {}, "who": "adam@example.com", "at": AT}
    return [
        BulkItem(**item, state="done", detail=f"qm{name}"),
        AuditEntry(at=AT, who=f"qy{name}", what="note", result="done", detail=f"qz{name}"),
        User(email=f"ra{name}@example.com", role="viewer", password_hash="", created_at=AT),
        event,
        SavedQuery(name=f"rk{name}", **query),
    ]
