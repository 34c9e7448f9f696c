"""The knobs, for tests and people on this machine: faults, latency, one connection's fate, what was called."""

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from dashboard.sandbox.context import refuse, sandbox
from dashboard.sandbox.faults import KINDS, Fault

bp = Blueprint("control", __name__, url_prefix="/sandbox/control")


@bp.get("/state")
def state() -> ResponseReturnValue:
    """Calls by route, syncs started by connection, tokens given out."""
    parts = sandbox()
    starts = {str(key): touched.starts for key, touched in parts.life.touched.items() if touched.starts}
    return jsonify(calls=dict(parts.faults.calls), syncs=starts, tokens=parts.tokens.issued, faults=len(parts.faults.active))


@bp.post("/faults")
def add_fault() -> ResponseReturnValue:
    """Switch a fault on: ``{"route", "match", "status", "kind", "delay_ms", "body", "headers", "times"}``."""
    body = request.get_json()
    if body.get("kind") not in {None, *KINDS}:
        refuse(400, "ERROR_UNKNOWN_KIND", f"kind is one of {', '.join(KINDS)}")
    sandbox().faults.active.append(Fault(**body))
    return jsonify(faults=len(sandbox().faults.active))


@bp.delete("/faults")
def clear_faults() -> ResponseReturnValue:
    """Switch all off."""
    sandbox().faults.active.clear()
    return jsonify(faults=0)


@bp.post("/knobs")
def knobs() -> ResponseReturnValue:
    """``{"latency_ms", "error_rate", "run_seconds": [least, most]}``, each optional."""
    body, parts = request.get_json(), sandbox()
    parts.faults.latency_ms = float(body.get("latency_ms", parts.faults.latency_ms))
    parts.faults.error_rate = float(body.get("error_rate", parts.faults.error_rate))
    least, most = body.get("run_seconds", parts.life.run_seconds)
    parts.life.run_seconds = (float(least), float(most))
    return jsonify(latency_ms=parts.faults.latency_ms, error_rate=parts.faults.error_rate, run_seconds=parts.life.run_seconds)


@bp.post("/connections/<int:connection_id>")
def connection(connection_id: int) -> ResponseReturnValue:
    """``{"health_status", "never_finishes", "next_run"}``, each optional."""
    body, touched = request.get_json(), sandbox().life.touch(connection_id)
    touched.forced_status = body.get("health_status", touched.forced_status)
    touched.never_finishes = bool(body.get("never_finishes", touched.never_finishes))
    touched.next_run = body.get("next_run", touched.next_run)
    return jsonify(ok=True)


@bp.post("/accounts/<int:account_id>/revoke-token")
def revoke(account_id: int) -> ResponseReturnValue:
    """Make the account's token worthless."""
    sandbox().tokens.revoke(account_id)
    return jsonify(ok=True)


@bp.post("/reset")
def reset() -> ResponseReturnValue:
    """Forget everything that was done since the start."""
    parts = sandbox()
    parts.faults.active.clear()
    parts.faults.calls.clear()
    parts.life.touched.clear()
    parts.life.new_accounts.clear()
    parts.life.new_connections.clear()
    parts.tokens.generation.clear()
    return jsonify(ok=True)
