"""What is minimized, with its per-example tables."""
