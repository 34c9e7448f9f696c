"""Security headers, host names, form checks, CSRF and rate limits, for every response."""

from urllib.parse import urlsplit

from flask import Flask, Response, abort, g, request
from flask_limiter import Limiter
from flask_wtf import CSRFProtect
from limits import parse

from dashboard.context import services
from dashboard.web import login_attempt_keys

csrf = CSRFProtect()
limiter = Limiter(login_attempt_keys.by_address, headers_enabled=False, strategy="moving-window")

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "object-src": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
}
# All that the widget's host name serves: nobody can sign in there, so the vendor's script cannot
# ask users to.
OF_THE_WIDGET = frozenset({"embed.frame", "static"})
PROBES = frozenset({"health.alive", "health.ready", "measured.show"})
# The types in which browsers send forms. Views read ``request.form`` only, so a body of another
# type would pass unchecked.
FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def init_app(app: Flask) -> None:
    """Register the checks and headers; the host name is checked first."""
    app.before_request(_by_our_name)
    app.before_request(_only_forms)
    csrf.init_app(app)
    limiter.init_app(app)
    login_attempt_keys.init_app(app)
    app.after_request(_headers)


def allow_frame(origin: str) -> None:
    """Allow the page of this response to embed the widget's frame."""
    g.policy = {**POLICY, "frame-src": origin}


def own_policy(policy: str) -> None:
    """Replace the Content-Security-Policy of this response; the widget's frame needs its own."""
    g.policy = policy


def is_widgets_host() -> bool:
    """Return whether the request came by the widget's host name (``DASHBOARD_WIDGET_ORIGIN``)."""
    return request.host.lower() == services().settings.widget_host


def first_in_a_minute(what: str) -> bool:
    """Return whether the client causes this for the first time within one minute.

    For audit entries of events that any client can cause, which are not recorded each time.
    """
    return bool(limiter.limiter.hit(parse("1 per minute"), what, login_attempt_keys.by_address()))


def _by_our_name() -> None:
    """Refuse host names that are not configured, since pages contain their own address."""
    if request.environ["PATH_INFO"].startswith("//"):
        # Werkzeug would merge the slashes, and a proxy's rules may know only the path with one.
        abort(404)
    if request.endpoint in PROBES:
        # Kubernetes, load balancers and Prometheus use the address of the process. Probes do not
        # contain the console's address.
        return
    hosts = services().settings.hosts
    if hosts and urlsplit(f"//{request.host}").hostname not in hosts:
        abort(400, "The console is not reached by this host name. Its own is in DASHBOARD_URL.")
    if is_widgets_host() and request.endpoint not in OF_THE_WIDGET:
        abort(404, "This host name is for the widget's frame alone.")


def _only_forms() -> None:
    """Refuse bodies that are no forms, and files: only the text of form fields is checked."""
    if request.method in {"GET", "HEAD", "OPTIONS"} or not request.endpoint:
        return
    if request.content_type and request.mimetype not in FORMS:
        abort(
            400,
            "The console reads forms."
            " Send the fields as application/x-www-form-urlencoded, as its pages do.",
        )
    if request.files:
        abort(400, "No form of the console takes a file. Send each field as text.")
    # Possible in a multipart form; code that reads all fields would fail on it.
    if None in request.form:
        abort(400, "A field of this form has no name. Send it again as the page does.")


def _headers(response: Response) -> Response:
    policy = g.get("policy", POLICY)
    text = (
        policy
        if isinstance(policy, str)
        else "; ".join(f"{name} {value}" for name, value in policy.items())
    )
    response.headers.setdefault("Content-Security-Policy", text)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
    if "frame-ancestors 'none'" in text:
        response.headers.setdefault("X-Frame-Options", "DENY")
    if not services().settings.dashboard_insecure_cookies:
        response.headers.setdefault(
            "Strict-Transport-Security", "max-age=31536000; includeSubDomains"
        )
    if request.endpoint != "static":
        # Customers' data must not stay in a shared computer's cache, nor be reachable by the Back
        # button after sign-out. Overwritten, since Flask makes sent files cacheable for all.
        response.headers["Cache-Control"] = "no-store"
        response.headers.pop("Expires", None)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    return response
