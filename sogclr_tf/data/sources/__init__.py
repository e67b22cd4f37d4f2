"""Collections of images with a stable index, one file for each kind."""
