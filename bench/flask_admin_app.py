"""Flask-Admin's list view over the console's table of connections, to compare with ours.

``python -m bench.flask_admin_app PORT`` serves it as the console is served: gunicorn, one process,
16 threads, without login.
"""

import sys
from typing import Any

from flask import Flask
from flask_admin import Admin
from flask_admin.contrib.sqla import ModelView

from dashboard.cli.gunicorn_server import GunicornServer
from dashboard.core.database import db
from dashboard.fleet.models import Connection
from dashboard.settings import read_settings


class ConnectionView(ModelView):
    """The columns, filters, search and page size of ``/connections``."""

    can_create = can_edit = can_delete = False
    page_size = 50
    column_select_related_list = (Connection.account,)
    column_list = (
        "account.name",
        "name",
        "connector",
        "status",
        "severity",
        "last_success_at",
        "status_since",
    )
    column_searchable_list = ("account.name", "account.external_id", "name", "connector")
    column_filters = ("severity", "status", "connector")
    column_sortable_list = (
        "account.name",
        "name",
        "connector",
        "status",
        "severity",
        "last_success_at",
        "status_since",
    )
    column_default_sort = ("severity_rank", False)

    def get_query(self) -> Any:
        """Return the rows of ``/connections``."""
        return (
            super()
            .get_query()
            .filter(Connection.gone_at.is_(None), Connection.is_warehouse.is_(False))
        )

    def get_count_query(self) -> Any:
        """Return the count of the rows of ``/connections``."""
        return (
            super()
            .get_count_query()
            .filter(Connection.gone_at.is_(None), Connection.is_warehouse.is_(False))
        )


def create_admin() -> Flask:
    """Return the app over the store of the settings."""
    app = Flask(__name__)
    app.config.update(SECRET_KEY="k" * 40, SQLALCHEMY_DATABASE_URI=read_settings().store_url)
    db.init_app(app)
    admin = Admin(app, name="Connections")
    with app.app_context():
        admin.add_view(ConnectionView(Connection, db, name="Connections", endpoint="connection"))
    return app


if __name__ == "__main__":
    GunicornServer(
        create_admin(),
        bind=f"127.0.0.1:{int(sys.argv[1])}",
        threads=16,
        # The console's hooks need the console's services.
        post_worker_init=lambda _worker: None,
        worker_exit=lambda _server, _worker: None,
    ).run()
