"""SQL queries to customers' warehouses, through Peliqan's API or by a direct connection.

``parameters``  statements with named parameters, and the values for them
``result``      a query result: columns and rows, within limits
``backends``    where a statement is run: ``peliqan`` (its API) or ``postgresql`` (directly)
``service``     stored query runs and their results, saved queries, addresses of warehouses
"""
