"""From files to batches of views with a stable index."""
