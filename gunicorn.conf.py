"""What ``gunicorn wsgi:app`` reads by itself when it is started in this folder: the settings of ``dashboard serve``."""

from dashboard.http.conf import *  # noqa: F403
