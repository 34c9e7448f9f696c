"""One mechanism for every list: columns, filters, search, sorting and pages."""
