"""Actions that users start at Peliqan (sync, reauthorise, invite), with their outcomes."""
