"""The preview of Peliqan's widget, embedded as a partner does it."""
