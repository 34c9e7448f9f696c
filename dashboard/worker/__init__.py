"""The worker process: runs tasks, enqueues what is due, deletes what is old."""
