"""The snapshot, people and the audit trail, in SQLite or PostgreSQL through SQLAlchemy.

``models``     the tables
``text``       text made storable and comparable; ``folding`` keeps comparable texts beside those that people search and sort by
``addresses``  one form for all spellings of an e-mail address
``asked``      what is asked of a list, from its address; ``listing`` answers: search, filter, sort and page in one mechanism
``lists``      the console's lists, each a declaration for ``listing``
``findings``   what the rules say, kept from first seen to recovered; ``causes`` counts what is alike
``finding_lists``, ``diagnosed``, ``suppression``  what is shown of them, and what people are spared
``report``     what became of the fleet since a time; ``trend`` how it fared over days
``timeline``   what happened to one connection or account, from everywhere that it is kept
``desk``       links that wait for customers; ``banks`` the round over bank consents
``together``   notes, and who is on what
``snapshot``   what a pass over the fleet writes and the pages read
``run_log``    the latest runs of connections
``actions``    what agents start: written down before it is tried, settled afterwards
``receipts``   what became of them, and what is learnt from that
``alerts``     what people are told of causes, once; ``alert_rules``, ``alert_times``, ``alert_texts``, ``alert_lists``: its parts
``bulk``       work on many connections: jobs and their items; ``bulk_plan`` what one would be for, ``bulk_lists`` what is shown
``events``     what Peliqan sent, each once; ``standings``: what that says of runs
``deliveries`` new connections whose tables go to the partner's hook
``pulls``      copies by a schedule; ``pull_times`` when the next is due
``wall``       times of day in a time zone
``vitals``     how the console itself fares; ``backup`` the store as a file, and back
``people``     users, sign-ins, personal access tokens
``provided``   people whom an OpenID Connect provider vouches for; ``second`` codes beside a password
``scopes``     which customers a limited person sees; ``sight``: no query shows them others
``audit``      who did what, when, with which result
``outages``    whether the API answers, for all processes
``tokens``     customers' tokens, encrypted at rest
"""
