"""All views: hooks of every request, and a blueprint for each feature."""

from flask import Flask

from dashboard import error_pages
from dashboard.actions import presenters as action_presenters
from dashboard.actions import views as actions
from dashboard.alerts import views as alerts
from dashboard.bulk import views as bulk
from dashboard.causes import views as causes
from dashboard.connections.views import accounts, connections
from dashboard.customer_links import views as customer_links
from dashboard.customer_links.banks import views as banks
from dashboard.deliveries import views as deliveries
from dashboard.embed import views as embed
from dashboard.exports import views as exports
from dashboard.monitoring.views import fleet_metrics, probes
from dashboard.notes import views as notes
from dashboard.pulls import views as pulls
from dashboard.reports.overview import views as overview
from dashboard.reports.since import views as reports
from dashboard.reports.timeline import views as timeline
from dashboard.reports.trend import views as trend
from dashboard.sql.views import editor, saved_queries
from dashboard.tables import views as tables
from dashboard.tables.health import views as table_health
from dashboard.tables.search import views as table_search
from dashboard.users import authentication, quotas
from dashboard.users.views import admin, oidc, password, sessions, sign_in, two_factor
from dashboard.web import access_log_fields, assets, security, templating, times
from dashboard.webhooks import views as webhooks


def register(app: Flask) -> None:
    """Register hooks and blueprints; hooks run in this order."""
    access_log_fields.init_app(app)
    security.init_app(app)
    authentication.init_app(app)
    quotas.init_app(app)
    oidc.init_app(app)
    templating.init_app(app)
    times.init_app(app)
    action_presenters.init_app(app)
    error_pages.init_app(app)
    assets.init_app(app)
    for views in (
        overview,
        accounts,
        connections,
        causes,
        notes,
        customer_links,
        banks,
        bulk,
        actions,
        tables,
        table_health,
        table_search,
        exports,
        editor,
        saved_queries,
        pulls,
        deliveries,
        embed,
        sign_in,
        password,
        oidc,
        two_factor,
        sessions,
        admin,
        webhooks,
        alerts,
        reports,
        timeline,
        trend,
        probes,
        fleet_metrics,
    ):
        app.register_blueprint(views.bp)
