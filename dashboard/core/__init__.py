"""What everything else stands on: the store, times, texts, encryption, addresses, row-level access. Knows no feature."""
