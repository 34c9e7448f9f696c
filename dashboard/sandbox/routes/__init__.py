"""The routes of the sandbox.

``partner``, ``servers`` and ``data`` are the API, ``pages`` the pages for people, ``control`` the
switches for tests.
"""
