"""Settings of gunicorn for the console, which ``gunicorn wsgi:app`` reads in this folder.

All settings and hooks are in ``dashboard/http/conf.py``, so that installations without this folder
have them too (``gunicorn -c python:dashboard.http.conf wsgi:app``). To change one, set it below the
import or by an option of gunicorn. A worker does not run in gunicorn: start ``dashboard worker``.
"""

from dashboard.http.conf import *  # noqa: F403
