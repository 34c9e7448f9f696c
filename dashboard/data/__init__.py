"""The data itself: tables read whole, page by page, and what may be shown of them. Knows the service and the store, no Flask.

``query``    what is asked of a table: search, filters by type, sort, columns; checked against the table's own columns first
``reading``  a whole table, page by page with read-ahead; says where it changed meanwhile
``files``    a table as a file: CSV, JSON Lines, and ``parquet`` what that is made from
``places``   where administrators may send the console; ``addresses`` reads what is checked and connected to
``private``  the modes of the console's own folder and files
``masks``    which columns look like personal data, and who sees them

``sql``      questions in SQL to a customer's warehouse, a folder of its own

``pull``          tables copied out: which, from where on, one after the other
``changes``       what says that a row is new or changed
``destinations``  where copies go; ``parquet_folder``, ``databases`` (and ``database_tables``)
``refusals``      which of their errors are one table's, and which end a pull
``manifest``      what is known of a copy, and what a pull says
``kinds``         what a copied column holds and is called
``spool``         rows on this machine's disk until a table is read to its end
"""
