"""A stand-in for Peliqan's API, written from what is publicly known of it and never from the console's client.

``connectors``  what there is to connect, how it fails, which tables it brings
``world``       accounts and connections: pure functions of a seed, computed when asked for
``scenarios``   fleets in which one thing goes wrong, by name; ``stage`` makes them
``fleet``       those, and what was added to them since the start
``runs``        runs of a connection: when they start, how they end, their log; pure functions too
``life``        what changes: statuses over time, and what was done to a connection since the start
``tables``      tables and rows, computed when asked for; ``fields`` and ``query`` read and sort them as Baserow does
``auth``        the kinds of token
``catalogue``   the routes by name; ``openapi`` makes a document of them
``faults``      latency, errors and named faults, switchable while it runs
``webhooks``    events of what was done, posted to one address
``routes``      the API, the pages for people (consent, widget) and the control routes
``server``      serves it with gunicorn; ``python -m dashboard.sandbox`` calls that
"""
