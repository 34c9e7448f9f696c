"""What operators and their machines see of the console: log lines, measurements, spans, mistakes. Knows no Flask and no database.

``ids``       a request's id, from the door to the calls that it makes
``logs``      lines of JSON on standard error, without secrets
``metrics``   what is counted, and the page that Prometheus reads
``requests``  every request, counted and told in one line, in front of the app
``calls``     every call to Peliqan: counted, and sent with the request's id
``tasks``     every task of a worker's
``tracing``   spans for OpenTelemetry, where it is asked for
``mistakes``  Sentry, where it is asked for

Nothing that is counted, told or sent names a customer: routes go by their endpoint, accounts by their number.
``metrics`` is loaded when an app is made and not before: what it counts in is decided by the environment at that moment.
"""
