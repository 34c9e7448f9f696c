"""A stand-in for Peliqan's API, written from what is publicly known of it and never from the console's client.

``connectors``  what there is to connect, how it fails, which tables it brings
``world``       accounts and connections: pure functions of a seed, computed when asked for
``life``        what changes: runs, statuses over time, and what was done to a connection since the start
``rows``        tables and rows, computed when asked for
``auth``        the kinds of token
``faults``      latency, errors and named faults, switchable while it runs
``routes``      the API, the pages for people (consent, widget) and the control routes
``openapi``     a document of what is emulated
"""
