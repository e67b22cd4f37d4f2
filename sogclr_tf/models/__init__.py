"""Keras models whose `train_step` contrasts a batch."""
