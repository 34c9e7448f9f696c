"""Tests of every API route with every possible fault.

``table``   the routes and the faults, one line each
``server``  a raw socket that responds well, or as a fault says
``console`` a console over this server, and every page and form that calls the API
The tests combine them: API client, pages and forms, refreshes of the fleet.
"""
