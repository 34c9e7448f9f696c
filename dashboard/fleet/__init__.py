"""The fleet as last read: accounts, connections, runs, with counters and lists.

``models``         the tables; ``visibility`` which accounts a restricted user may see
``counters``       counts that lists show, kept with every change; ``hourly_counts`` their history
``lists``          the lists of connections and accounts; ``queries`` reads for pages
``runs``           the newest runs of each connection
``token_vault``    customers' tokens, encrypted
"""
