"""The task queue: Huey, its signed messages, and periodic tasks."""
