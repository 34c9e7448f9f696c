"""One blueprint a page family: request in, store or service asked, template out.

``access``    who may see what: sign-in, roles, tokens; a view without a declared role is shut
``security``  headers, CSRF, limits on attempts
``pages``     the list mechanism's web side: HTML, JSON and CSV from one view; filters of the templates
``times``     times in the viewer's zone
``assets``    static files by their content
``door``      takes Peliqan's events, in front of all others
``errors``    what went wrong as a page, a fragment or JSON
The rest are the page families.
"""

from flask import Flask

from dashboard.views import (
    access,
    accounts,
    admin,
    assets,
    causes,
    connections,
    door,
    embed,
    errors,
    health,
    overview,
    pages,
    people,
    security,
    tables,
    times,
    webhooks,
)


def register(app: Flask) -> None:
    """Everything a browser or a script can ask for."""
    security.init_app(app)
    access.init_app(app)
    pages.init_app(app)
    times.init_app(app)
    errors.init_app(app)
    assets.init_app(app)
    door.init_app(app)
    for family in (overview, accounts, connections, causes, tables, embed, people, admin, webhooks, health):
        app.register_blueprint(family.bp)
