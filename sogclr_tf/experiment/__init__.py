"""What the command does, from a config."""
