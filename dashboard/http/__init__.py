"""The HTTP server: gunicorn with a worker that uses a thread only for a complete request.

``conf``            gunicorn's settings, for ``dashboard serve`` and ``gunicorn wsgi:app`` alike
``worker``          the worker: one loop reads and writes all sockets, threads run the application
``connection``      a client's connection, its phases and their time limits
``request_reader``  finds the end of a request in the received bytes
``refusals``        responses of the server to requests that never reach the application
``client_address``  the client's address and scheme behind trusted proxies, and the console's path

The package imports nothing else of the console.
"""
