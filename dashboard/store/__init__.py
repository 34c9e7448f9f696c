"""The snapshot, people and the audit trail, in SQLite or PostgreSQL through SQLAlchemy.

``models``     the tables
``listing``    list, search, filter, sort and page: one mechanism for every list
``lists``      the console's lists, each a declaration for ``listing``
``snapshot``   what a pass over the fleet writes and the pages read
``actions``    what agents start: written down before it is tried, settled afterwards
``people``     users, sign-ins, personal access tokens
``audit``      who did what, when, with which result
``tokens``     customers' tokens, encrypted at rest
"""
