"""Headers, CSRF and limits on attempts: in one place, for every answer."""

from flask import Flask, Response, g, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_wtf import CSRFProtect

from dashboard.app import console

csrf = CSRFProtect()
limiter = Limiter(get_remote_address, headers_enabled=False, strategy="moving-window")

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}


def init_app(app: Flask) -> None:
    """Wire all three."""
    csrf.init_app(app)
    limiter.init_app(app)
    app.after_request(_headers)


def allow_frame(origin: str) -> None:
    """Let this answer's page hold the widget's frame."""
    g.policy = {**POLICY, "frame-src": origin}


def own_policy(policy: str) -> None:
    """Give this answer another Content-Security-Policy altogether: the widget's frame has its own."""
    g.policy = policy


def _headers(response: Response) -> Response:
    policy = g.get("policy", POLICY)
    text = policy if isinstance(policy, str) else "; ".join(f"{name} {value}" for name, value in policy.items())
    response.headers.setdefault("Content-Security-Policy", text)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
    if "frame-ancestors 'none'" in text:
        response.headers.setdefault("X-Frame-Options", "DENY")
    if not console().settings.dashboard_insecure_cookies:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.endpoint != "static":
        # Customers' data must not stay in a shared computer's cache, nor behind the Back button after signing out.
        response.headers.setdefault("Cache-Control", "no-store")
    return response
