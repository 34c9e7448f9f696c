"""A store in which everything that people search has names that databases fold differently, and the ways to spell these."""

import string
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
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
from dashboard.fleet.models import Account, AccountRefreshState, Connection
from dashboard.pulls.models import PullRun, PullSchedule
from dashboard.sql.models import SavedQuery
from dashboard.users import service as users
from dashboard.users.models import User
from dashboard.webhooks.models import WebhookEvent
from tests.support.people import PASSWORD, PASSWORD_HASH

AT = datetime(2026, 3, 31, 7, 12, tzinfo=UTC)
NAMES = (
    "École", "Ørsted", "РОМАШКА", "Straße", "İstanbul", "Kırıkkale", "ΟΔΥΣΣΕΥΣ", "ﬁnance", "\u212bngström", "Ko\u0308ln",
    "Ｆｕｌｌ", "Crédit\u00a0Agricole", "soft\u00adware", "zero\u200bwidth", "ｶﾞｰﾃﾞﾝ", "a%b_c\\d/e", "Zebra", "apple",
)  # fmt: skip
_WIDE = str.maketrans(
    {each: chr(ord(each) + 0xFEE0) for each in string.ascii_letters + string.digits}
)
SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it stands": str,
    "in capitals": str.upper,
    "in small letters": str.lower,
    "with cases swapped": str.swapcase,
    **{
        f"in {form}": lambda text, form=form: normalize(form, text)
        for form in ("NFC", "NFD", "NFKC", "NFKD")
    },  # type: ignore[misc]
    "in full width": lambda text: text.translate(_WIDE),
    "with blanks of other kinds": lambda text: (
        f"\u3000\t{text.replace(chr(0xA0), f' {chr(0x202F)} ')}\u00a0 "
    ),
    "with characters that nobody sees": lambda text: (
        "\u200b".join([text[:3], *text[3:]]) + "\ufeff"
    ),
}
# By the path of each list: what stands before a name in each text that it is searched by, and how many rows have that name.
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
    """A row of each kind for each name, in a store without any; Adam, an administrator."""
    upgrade_schema(app)
    with app.app_context():
        users.create_user("adam@example.com", "admin", PASSWORD, AT).password_hash = PASSWORD_HASH
        entry = AuditEntry(at=AT, who="adam@example.com", what="made", result="done")
        db.session.add(entry)
        db.session.flush()
        for number, name in enumerate(NAMES, 1):
            for part in (_fleet, _work, _rest):
                db.session.add_all(part(number, name, entry.id))
                db.session.commit()
        db.session.remove()
        db.engine.dispose()


def _fleet(number: int, name: str, _audit_id: int) -> list[Any]:
    account_id = 1000 + number
    known = {
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
    return [
        Account(id=account_id, name=f"qa{name}", external_id=f"qb{name}", first_seen_at=AT, check=AccountRefreshState(due_at=None)),
        Connection(account_id=account_id, id=number, name=f"qc{name}", connector=f"qd{name}", **known),
        Connection(account_id=account_id, id=100 + number, name=f"qe{name}", connector=f"saltedge qf{name}", **known),
        cause,
        # All behind one cause, whose page lists them.
        Finding(
            account_id=account_id, connection_id=number, cause_id=1, evidence=f"qg{name}", first_seen_at=AT, confirmed_at=AT,
            **judged,
        ),
    ]  # fmt: skip


def _work(number: int, name: str, audit_id: int) -> list[Any]:
    place = {"account_id": 1000 + number, "audit_id": audit_id}
    job = {"kind": "sync", "state": "done", "at_once": 1, "audit_id": audit_id, "started_at": AT}
    return [
        Action(
            kind="sync", state="done", connection_id=number, started_by=f"qj{name} asked", started_at=AT, settled_at=AT,
            connector=f"qd{name}", why=f"qn{name}", detail=f"qo{name}", **place,
        ),
        Action(
            kind="reauthorise", state="waiting", in_flight=str(number), connection_id=100 + number, started_by=f"sa{name}",
            started_at=AT, connector=f"qf{name}", **place,
        ),
        BulkJob(id=number, who=f"qk{name}", why=f"ql{name}", canary_id=number, **job),
        *([BankReview(account_id=1002, connection_id=102, at=AT, who="adam@example.com")] if number == 2 else []),
        Delivery(
            key=str(number), connection_id=number, who=f"qw{name}", state="dead", asked_at=AT, waits_since=AT, error=f"qx{name}",
            **place,
        ),
    ]  # fmt: skip


def _rest(number: int, name: str, audit_id: int) -> list[Any]:
    made = {"created_at": AT, "created_by": f"qr{name}"}
    schedule = PullSchedule(
        id=number,
        name=f"qp{name}",
        address=b"x",
        place=f"qq{name}",
        chosen={},
        every=1440,
        full_every=10,
        on=False,
        **made,
    )
    rule = AlertRule(
        id=number, name=f"rf{name}", address=b"x", place=f"rg{name}", sends="new", severity="critical", created_at=AT,
        created_by=f"rh{name}",
    )  # fmt: skip
    return [
        BulkItem(job_id=1, account_id=1000 + number, connection_id=number, state="done", detail=f"qm{name}"),
        schedule,
        PullRun(
            schedule_id=1, name=f"qs{name}", place=f"qt{name}", who=f"qu{name}", audit_id=audit_id, state="failed", began_at=AT,
            ended_at=AT, error=f"qv{name}",
        ),
        AuditEntry(at=AT, who=f"qy{name}", what="note", result="done", detail=f"qz{name}"),
        User(email=f"ra{name}@example.com", role="viewer", password_hash="", created_at=AT),
        WebhookEvent(
            key=f"rc{name}", received_at=AT + timedelta(seconds=number), event=f"rb{name}", status=f"rd{name}", body="{}",
            state="done", detail=f"re{name}",
        ),
        rule,
        AlertMessage(
            rule_id=number, key=str(number), subject=f"ri{name}", body="", state="failed", created_at=AT, error=f"rj{name}"
        ),
        SavedQuery(name=f"rk{name}", text="select 1", parameters={}, who="adam@example.com", at=AT),
    ]  # fmt: skip
