"""A sandbox that emulates Peliqan's API.

It is written from public knowledge of the API and shares no code with the client.

``connectors``      connectors, the ways in which they fail, and their tables
``seed``            accounts and connections: pure functions of a seed, computed on demand
``company_names``   their made-up names
``scenarios``       fleets with one known problem, by name; ``scenario_builder`` makes them
``accounts``        the accounts and connections of the seed, and those added since the start
``runs``            runs of a connection: start, outcome and log; pure functions of the seed
``simulation``      statuses over time, and the changes made to connections since the start
``tables``          tables and rows, computed on demand
``baserow_fields``  the description of columns; ``query`` and ``filters`` read row requests
``warehouse``       SQL on an account's tables, in SQLite or (``warehouse_postgresql``) PostgreSQL
``auth``            the kinds of token
``route_specs``     the routes by name; ``openapi`` makes a document of them
``faults``          latency, errors and named faults, switchable at run time
``webhooks``        sends an event to one address for each change
``route_helpers``   functions that the routes share
``routes``          the API, the pages for people (consent, widget) and the control routes
``server``          serves the app with gunicorn; ``python -m dashboard.sandbox`` starts it

Letters in brackets name the source of a fact about the API; ``openapi.SOURCES`` explains them.
"""
