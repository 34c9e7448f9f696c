"""Events that Peliqan sends: received, checked, processed."""
