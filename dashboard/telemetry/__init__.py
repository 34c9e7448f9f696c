"""Observability: log, metrics, traces and error reports.

The package imports neither Flask nor the database.

``request_id``       the id of a request, in its log lines and its calls to Peliqan
``logs``             the log: JSON lines on standard error, without secrets
``access_log``       WSGI middleware: one log line and one measurement for each request
``api_calls``        each call to Peliqan: measured, and sent with the request's id
``task_runs``        each task of a worker: counted and logged
``process_metrics``  counters and the page for Prometheus
``multiprocess``     the folder in which processes of one `dashboard serve` share counters
``outage_log``       log lines of Redis or database outages
``tracing``          spans for OpenTelemetry, if configured
``sentry``           error reports to Sentry, if configured

No metric, log line or span names a customer: routes appear by endpoint, accounts by number.
``process_metrics`` must be imported when an app is made and not earlier, since the
environment at import decides where it counts.
"""
