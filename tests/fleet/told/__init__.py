"""What Peliqan's events do: ``test_snapshot``, ``test_readings`` and ``test_watching``."""
