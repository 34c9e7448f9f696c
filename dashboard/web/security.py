"""Headers, names of hosts, CSRF and limits on attempts: in one place, for every answer."""

from urllib.parse import urlsplit

from flask import Flask, Response, abort, g, request
from flask_limiter import Limiter
from flask_wtf import CSRFProtect
from limits import parse

from dashboard.context import services
from dashboard.web import login_throttle

csrf = CSRFProtect()
limiter = Limiter(login_throttle.by_address, headers_enabled=False, strategy="moving-window")

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
# All that the widget's own host name gives: nobody can sign in there, so nothing of the vendor's script can ask them to.
OF_THE_WIDGET = frozenset({"embed.frame", "static"})
PROBES = frozenset({"health.alive", "health.ready", "measured.show"})
# What browsers send forms as. Views read ``request.form`` alone, so that a body of any other kind is one that nobody checked.
FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


def init_app(app: Flask) -> None:
    """Wire all of them; who is asked for comes before anything else."""
    app.before_request(_by_our_name)
    app.before_request(_only_forms)
    csrf.init_app(app)
    limiter.init_app(app)
    login_throttle.init_app(app)
    app.after_request(_headers)


def allow_frame(origin: str) -> None:
    """Let this answer's page hold the widget's frame."""
    g.policy = {**POLICY, "frame-src": origin}


def own_policy(policy: str) -> None:
    """Give this answer another Content-Security-Policy altogether: the widget's frame has its own."""
    g.policy = policy


def is_widgets_host() -> bool:
    """Whether the request came by the widget's own host name (``DASHBOARD_WIDGET_ORIGIN``)."""
    return request.host.lower() == services().settings.widget_host


def first_in_a_minute(what: str) -> bool:
    """Whether this happens for the first time within a minute, for who asks: what anybody can cause is not noted each time."""
    return bool(limiter.limiter.hit(parse("1 per minute"), what, login_throttle.by_address()))


def _by_our_name() -> None:
    """Refuse a host name that is not ours, where they are set: what a page says of its own address must be true."""
    if request.environ["PATH_INFO"].startswith("//"):
        # Werkzeug would read it as the path with one slash; what stands in front may have rules for that one alone.
        abort(404)
    if request.endpoint in PROBES:
        # Kubernetes, load balancers and Prometheus name the address that they ask, and are told nothing of the console's own.
        return
    hosts = services().settings.hosts
    if hosts and urlsplit(f"//{request.host}").hostname not in hosts:
        abort(400, "The console is not reached by this host name. Its own is in DASHBOARD_URL.")
    if is_widgets_host() and request.endpoint not in OF_THE_WIDGET:
        abort(404, "This host name is for the widget's frame alone.")


def _only_forms() -> None:
    """Refuse a body that is no form, and a form with a file in it: what is checked and what is used is the text of its fields."""
    if request.method in {"GET", "HEAD", "OPTIONS"} or not request.endpoint:
        return
    if request.content_type and request.mimetype not in FORMS:
        abort(
            400,
            "The console reads forms. Send the fields as application/x-www-form-urlencoded, as its pages do.",
        )
    if request.files:
        abort(400, "No form of the console takes a file. Send each field as text.")
    # Of a multipart form: what reads all fields would stumble over it.
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
        # Customers' data must not stay in a shared computer's cache, nor behind the Back button after signing out. Set and not
        # left to be: Flask lets a file be kept by anybody, as static ones may be.
        response.headers["Cache-Control"] = "no-store"
        response.headers.pop("Expires", None)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    return response
