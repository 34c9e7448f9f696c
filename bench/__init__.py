"""``make bench``: the console's promises of speed, each a ratio measured in one run.

``fleet``             fills a store with any number of connections, without an API
``served``            a console over its own store, and a signed-in session
``fake_api``          the sandbox in a process of its own
``passes``            refreshes of the fleet, compared with the ideal and with a plain loop
``watching``          200 browsers that poll one sync
``pages``             pages at 100,000 connections, compared with 1,000 and with Flask-Admin
``causes``            findings over 100,000 connections: all of them, and after a change
``storm``             1,000 webhooks a second, sent by ``sender``
``tables``            pages of the table browser, compared with Datasette
``exports``           files of a million rows
``load_test``         50 users for five minutes, simulated by Locust with ``agents``
``flask_admin_app``   Flask-Admin's list view
``memory``            the memory of a process and its children
``report``            a figure and its promised limit
"""
