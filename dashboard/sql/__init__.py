"""Questions in SQL to one customer's warehouse, by either of two ways.

``text``        the question: one with names in it becomes one with values
``result``      an answer: its columns and rows, within limits
``proxy``       through Peliqan's API
``postgresql``  by a direct connection
"""
