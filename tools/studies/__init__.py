"""What the studies under tools/ share."""
