"""The data itself: tables read whole, page by page, and what may be shown of them. Knows the service and the store, no Flask.

``query``    what is asked of a table: search, filters by type, sort, columns; checked against the table's own columns first
``reading``  a whole table, page by page with read-ahead; says where it changed meanwhile
``files``    a table as a file: CSV, JSON Lines, and ``parquet`` what that is made from
``masks``    which columns look like personal data, and who sees them
"""
