"""The HTTP server in front of the console: gunicorn with a worker that takes a thread for whole requests only.

``conf``      gunicorn's settings, for ``dashboard serve`` and ``gunicorn wsgi:app`` alike
``worker``    the worker: one loop reads and writes all sockets, threads run the application
``arriving``  where a request ends in the bytes that have arrived
``refusals``  answers of the server itself, for what never reaches the application
``client``    the client's address and scheme, from trusted proxies alone, and the path below which the console answers

Nothing here imports the rest of the console.
"""
