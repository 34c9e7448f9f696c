"""Both kinds of data hook: a function and a server.

DASHBOARD_HOOK=hook:take, or DASHBOARD_HOOK=https://backend.example.com/peliqan-data.
docs/data-hook.md describes the messages. Each message is stored once, with its rows, in one
transaction.
"""

import hashlib
import hmac
import json
import os
import sqlite3
import time
from contextlib import closing
from typing import Any

from flask import Flask, abort, request

SECRET = os.environ.get("DASHBOARD_HOOK_SECRET", "").encode()
LONGEST_DELAY = 300  # seconds; an older message may be a copy that somebody recorded
app = Flask(__name__)


def take(message: dict[str, Any]) -> None:
    """Store the rows of one message, unless its key is stored already."""
    with closing(sqlite3.connect(os.environ.get("MIRROR", "mirror.db"))) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS taken (key TEXT PRIMARY KEY)")
        columns = "customer TEXT, source TEXT, id INTEGER, row TEXT"
        db.execute(f"CREATE TABLE IF NOT EXISTS mirror ({columns})")
        if not db.execute("INSERT OR IGNORE INTO taken VALUES (?)", [message["key"]]).rowcount:
            return  # The message came before. The console sends it again if the response was lost.
        if message["complete"]:
            return  # All rows of this delivery are stored: start here what waits for them.
        customer, table = message["account"]["external_id"], message["table"]["name"]
        db.executemany(
            "INSERT INTO mirror VALUES (?, ?, ?, ?)",
            [(customer, table, row["id"], json.dumps(row)) for row in message["rows"]],
        )


@app.post("/peliqan-data")
def receive() -> tuple[str, int]:
    """Check the signature and the age of a message, then store it."""
    timestamp, body = request.headers["X-Console-Timestamp"], request.get_data()
    expected = (
        "sha256=" + hmac.new(SECRET, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    )
    is_signed = hmac.compare_digest(expected, request.headers["X-Console-Signature"])
    if not is_signed or abs(time.time() - int(timestamp)) > LONGEST_DELAY:
        abort(401)
    take(json.loads(body))
    return "", 204
