"""One mechanism for every list: its columns, filters, search, sort and pages. Knows no Flask."""
