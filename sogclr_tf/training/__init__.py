"""Optimizers, schedules, callbacks, checkpoints, distribution."""
