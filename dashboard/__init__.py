"""Partner Console: every customer's data connections, why one is broken, and the button that fixes it.

``peliqan``  the thin service: all HTTP to Peliqan's API; knows no Flask and no database
``store``    the snapshot, people and the audit trail (SQLAlchemy)
``fleet``    keeps the snapshot: refresh, watching what agents started, the queue
``views``    one blueprint a page family: request in, store or service asked, template out
``telemetry``  what operators see of it: log, measurements, spans
``sandbox``  a stand-in for Peliqan's API that shares no code with the rest
"""
