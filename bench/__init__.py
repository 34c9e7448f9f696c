"""``make bench``: what the console promises of its speed, each as a ratio that is measured in one run.

``fleet``             a store with as many connections as one likes, without reading them from an API
``served``            a console over a store of its own, and somebody who signs in to it
``pages``             pages at 100,000 connections beside the same at 1,000, and beside Flask-Admin's list view
``causes``            findings over 100,000 connections, all and what changed
``flask_admin_app``   that list view
``report``            a figure and what was promised of it
"""
