"""Save and resume training, exactly."""

import logging

import tensorflow as tf

_LOG = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one model: weights, tables, optimiser and step.

    Args:
        model: a `SogCLR` model, built and compiled.
        folder: where the checkpoints lie.
        keep: how many of the newest are kept; at least 1.
    """

    def __init__(self, model, folder, keep=3):
        if keep < 1:
            raise ValueError(f"keep is {keep}: at least 1 checkpoint must be kept")
        # Restoring fills variables, so the optimiser's must exist.
        model.optimizer.build(model.trainable_variables)
        self._model = model
        self._checkpoint = tf.train.Checkpoint(model=model)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(folder), max_to_keep=keep, checkpoint_name="step"
        )

    def save(self):
        """Writes the state as it is; the step of the optimiser names it."""
        return self._manager.save(checkpoint_number=self._model.trained_steps)

    def restore(self):
        """Restores the newest checkpoint that is whole; its step, or 0 where there is none.

        Raises:
            ValueError: checkpoints exist, but none can be restored into this model.
        """
        for path in reversed(self._manager.checkpoints):
            try:
                self._checkpoint.restore(path).assert_existing_objects_matched()
                return self._model.trained_steps
            # A truncated file shows as IndexError, another model's as one of the rest.
            except (tf.errors.OpError, IndexError, AssertionError, ValueError) as error:
                reason = str(error).strip().splitlines()[0]
                _LOG.warning("checkpoint %s cannot be restored (%s)", path, reason)
        if self._manager.checkpoints:
            raise ValueError(
                f"no checkpoint in {self._manager.directory} fits this model: choose another "
                "--workdir, or the config it was made with"
            )
        return 0
