"""The snapshot, people and the audit trail, in SQLite or PostgreSQL through SQLAlchemy.

``models``     the tables
``listing``    list, search, filter, sort and page: one mechanism for every list
``lists``      the console's lists, each a declaration for ``listing``
``findings``   what the rules say, kept from first seen to recovered; ``causes`` counts what is alike
``finding_lists``, ``diagnosed``, ``suppression``  what is shown of them, and what people are spared
``desk``       links that wait for customers; ``banks`` the round over bank consents
``together``   notes, and who is on what
``snapshot``   what a pass over the fleet writes and the pages read
``actions``    what agents start: written down before it is tried, settled afterwards
``people``     users, sign-ins, personal access tokens
``audit``      who did what, when, with which result
``tokens``     customers' tokens, encrypted at rest
"""
