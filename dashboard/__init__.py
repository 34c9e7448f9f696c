"""Partner Console: every customer's data connections, why one is broken, and how to fix it.

Each package is a feature with its models, queries, tasks and views. Shared packages:

``core``       database, row-level access, texts; imports no feature
``peliqan``    the client of Peliqan's API: all HTTP to it; knows neither Flask nor the database
``web``        what every page needs: lists, htmx, security headers, templates
``http``       the HTTP server: gunicorn's worker and settings
``tasks``      the work queue, and ``worker``, the process that runs its tasks
``telemetry``  log, metrics, traces and error reports
``cli``        the ``dashboard`` command
``sandbox``    a replacement for Peliqan's API; shares no code with the other packages

``app.create_app`` makes the application; ``blueprints`` lists its views, ``models`` its tables.
"""
