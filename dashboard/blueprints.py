"""One blueprint a page family: request in, store or service asked, template out.

``access``    who may see what: sign-in, roles, tokens; a view without a declared role is shut
``security``  headers, names of hosts, CSRF, limits; ``attempts`` whose attempts to sign in are counted together
``amounts``   how much one person may have in a minute and an hour
``pages``     the list mechanism's web side: HTML, JSON and CSV from one view; filters of the templates
``menus``     what names every column of a table
``times``     times in the viewer's zone
``advice``    what stands at the buttons: the playbook, what helped before
``letters``   messages to customers, in their language; ``messages`` what is shown of one
``assets``    static files by their content
``door``      takes Peliqan's events, in front of all others
``watched``   says to the log and to the measurements by which endpoint a request is answered
``measured``  `/metrics`: what is counted, and how the fleet is at the moment
``errors``    what went wrong as a page, a fragment or JSON
``sql``       questions to one account's warehouse and their answers; ``queries`` saved ones, asked of many accounts
``deliveries`` tables of new connections, handed to the partner's hook
``provider``  signing in and out at an OpenID Connect provider; ``second`` the code after the password
``browsers``  which browser asks, in words of ours; ``sessions`` one's other sessions, ended
``exports``   whole tables as files: made within the request (``table_files``), or by a job
The rest are the page families.
"""

from flask import Flask

from dashboard import error_pages
from dashboard.actions import presenters as action_presenters
from dashboard.actions import views as receipts
from dashboard.alerts import views as alerts
from dashboard.bulk import views as bulk
from dashboard.causes import views as causes
from dashboard.connections.views import accounts, connections
from dashboard.customer_links import views as desk
from dashboard.customer_links.banks import views as banks
from dashboard.deliveries import views as deliveries
from dashboard.embed import views as embed
from dashboard.exports import views as exports
from dashboard.monitoring.views import health
from dashboard.monitoring.views import metrics as measured
from dashboard.notes import views as together
from dashboard.pulls import views as pulls
from dashboard.reports.overview import views as overview
from dashboard.reports.since import views as reports
from dashboard.reports.timeline import views as timeline
from dashboard.reports.trend import views as trend
from dashboard.sql.views import editor as sql
from dashboard.sql.views import saved_queries as queries
from dashboard.tables import column_menus
from dashboard.tables import views as tables
from dashboard.tables.health import views as table_health
from dashboard.tables.search import views as searches
from dashboard.users import access, quotas
from dashboard.users.views import admin, sessions
from dashboard.users.views import oidc as provider
from dashboard.users.views import password as passwords
from dashboard.users.views import sign_in as people
from dashboard.users.views import two_factor as second
from dashboard.web import assets, endpoint_tag, security, templating, times
from dashboard.webhooks import receiver
from dashboard.webhooks import views as webhooks


def register(app: Flask) -> None:
    """Everything a browser or a script can ask for."""
    endpoint_tag.init_app(app)
    security.init_app(app)
    access.init_app(app)
    quotas.init_app(app)
    provider.init_app(app)
    templating.init_app(app)
    column_menus.init_app(app)
    times.init_app(app)
    action_presenters.init_app(app)
    error_pages.init_app(app)
    assets.init_app(app)
    receiver.init_app(app)
    for family in (
        overview,
        accounts,
        connections,
        causes,
        together,
        desk,
        banks,
        bulk,
        receipts,
        tables,
        table_health,
        searches,
        exports,
        sql,
        queries,
        pulls,
        deliveries,
        embed,
        people,
        passwords,
        provider,
        second,
        sessions,
        admin,
        webhooks,
        alerts,
        reports,
        timeline,
        trend,
        health,
        measured,
    ):
        app.register_blueprint(family.bp)
