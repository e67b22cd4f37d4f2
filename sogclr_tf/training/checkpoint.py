"""Save and resume training, exactly."""

import functools
import logging
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator

import keras
import tensorflow as tf
from google.protobuf import text_format

from sogclr_tf.error_line import first_line
from sogclr_tf.example_names import Collection, ExampleNames, names_of
from sogclr_tf.training import kept_examples, strategy

_LOG = logging.getLogger("sogclr_tf")


def check_examples(folder: pathlib.Path, source: Collection) -> None:
    """Raises ValueError where the newest checkpoint in a folder is of other examples.

    As `fit` does of a model that was restored from it, but before there is one. The message names
    the first example that differs.
    """
    kept_examples.check_newest(folder, _newest_first(folder), source)


class Checkpoints:
    """The checkpoints of one model: weights, tables, optimizer, step and running means.

        checkpoints = Checkpoints(model, "checkpoints")
        model.fit(views, epochs=100, initial_step=checkpoints.restore(),
                  callbacks=[SaveCheckpoints(checkpoints, every_steps=500)])

    The step is the position in the data too, as `Views` are a function of it. A checkpoint holds
    values alone, so one that eight devices wrote restores on one, and the other way round. Among
    them is where the random numbers of layers such as `Dropout` stand. The names of the examples
    whose rows the tables hold lie beside the checkpoints.

    Args:
        model: a `SogCLR` model, built and compiled.
        folder: where the checkpoints lie, on a local or mounted disk.
        keep: how many of the newest are kept; at least 1.

    Raises:
        ValueError: `keep` is less than 1, or the model is not built, as one with a subclassed
            encoder that was never called.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> model = sogclr_tf.SogCLR(encoder, sogclr_tf.GlobalContrastiveLoss(num_examples=32))
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> views = sogclr_tf.training_views(np.zeros([32, 8, 8, 3], np.uint8), batch_size=16)
        >>> checkpoints = sogclr_tf.Checkpoints(model, "checkpoints", keep=2)
        >>> save = sogclr_tf.SaveCheckpoints(checkpoints)
        >>> history = model.fit(views, epochs=1, verbose=0, callbacks=[save])
        >>> checkpoints.restore()  # the step to go on from
        2
    """

    def __init__(self, model: keras.Model, folder: str | os.PathLike, keep: int = 3) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}: at least 1 checkpoint must be kept")
        if not model.built:
            raise ValueError(
                f"the model '{model.name}' is not built, so it has nothing to restore: call "
                "model.build with the shape of its batches, as (None, height, width, channels)"
            )
        # Restoring fills variables, so the optimizer's must exist.
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
        self._model = model
        self._folder = pathlib.Path(folder)
        # The means of a part epoch, of which Keras tells tf.train nothing. Copies, because every
        # replica has a share of the metrics' own, which a chief could not read alone.
        self._means = _copies(model.metrics_variables)
        # Nor does it of where the random numbers of layers stand.
        self._seeds = _copies(_seed_states(model))
        self._checkpoint = tf.train.Checkpoint(model=model, means=self._means, seeds=self._seeds)
        self._options = strategy.checkpoint_options(model.distribute_strategy)
        self._keep = keep
        self._saved_step: int | None = None

    def save(self) -> None:
        """Writes the state as it is, named by its step; does nothing if that is saved already.

        Of several workers all must call it; the chief alone writes.

        Raises:
            OSError: it cannot be written, as on a full disk; older checkpoints are as they were.
        """
        step = self._model.trained_steps
        if step == self._saved_step:
            return
        if step == getattr(self._model, "averaged_step", None):
            _LOG.warning(
                "the checkpoint of step %d holds averages in place of the weights, which Keras put "
                "there when fit ended: SaveCheckpoints among its callbacks saves both",
                step,
            )
        for copy, variable in self._copied():
            copy.assign(keras.ops.convert_to_numpy(variable))
        self._saved_step = step
        if strategy.is_chief(self._model.distribute_strategy):
            self._write(step)

    def _write(self, step: int) -> None:
        try:
            # First, so that no checkpoint is without its names.
            kept_examples.keep_names(self._folder, self._model)
            self._manager.save(checkpoint_number=step, options=self._options)
        except (tf.errors.OpError, OSError) as error:
            self._remove_fragments(step)
            # TensorFlow puts its operation before the reason, and its name behind it.
            reason = first_line(error).rpartition("; ")[2].partition(" [Op:")[0]
            raise OSError(
                f"the checkpoint of step {step} cannot be written to {self._folder} "
                f"({reason}): make room there, then the same command goes on from the "
                "checkpoint before"
            ) from error
        kept_examples.forget_names(self._folder, self._newest_first())

    def restore(self, grow: Collection | None = None) -> int:
        """Restores the checkpoint that was written last and is whole.

            checkpoints.restore(grow=views.source)    # files came, went or were renamed

        Args:
            grow: the source of the examples to go on with, where they are others than before; the
                model's loss has a table for as many. Rows of the tables go to their examples by
                name, new examples begin as never seen, and rows whose example is gone are dropped;
                all else is restored as it is. The next `save` keeps it. Examples that are the same
                are restored as without.

        Returns:
            the step of the checkpoint, or 0 where there is none.

        Raises:
            ValueError: checkpoints exist, but none can be restored into this model; or several
                workers found different ones.
        """
        found = self._restore_newest(grow)
        step = found or 0
        steps = strategy.from_all_workers(self._model.distribute_strategy, step)
        if len(set(steps)) > 1:
            strategy.part_from_workers(self._model.distribute_strategy)
            raise ValueError(
                f"the workers restored the steps {steps} from {self._folder}: all of them need the "
                "same folder, on a disk that they share"
            )
        # After the agreement, because workers that disagree could not do this together.
        if found is not None:
            for copy, variable in self._copied():
                variable.assign(copy)
        return step

    def _copied(self) -> Iterator[tuple[tf.Variable, keras.Variable]]:
        """Each variable of the model that is saved as a copy, after that copy."""
        model = self._model
        yield from zip(self._means, model.metrics_variables, strict=True)
        yield from zip(self._seeds, _seed_states(model), strict=True)

    def _restore_newest(self, grow: Collection | None) -> int | None:
        failures = {}
        for path in self._newest_first():
            try:
                with kept_examples.fitting(path, self._model, grow) as fitting:
                    restored = self._held_by(fitting).restore(fitting, self._options)
                    restored.assert_existing_objects_matched()
            # A truncated file shows as IndexError, another model's as one of the rest.
            except (tf.errors.OpError, IndexError, AssertionError, ValueError) as error:
                failures[path] = first_line(error) if grow else self._reason(path, error)
                continue
            for broken, reason in failures.items():
                _LOG.warning("%s cannot be restored (%s): going back to %s", broken, reason, path)
            self._remember(path, grow)
            return self._model.trained_steps
        if failures:
            raise ValueError(
                f"no checkpoint in {self._folder} fits this model ({list(failures.values())[0]}): "
                "choose another --workdir, or the config it was made with"
            )
        return None

    def _held_by(self, path: str) -> tf.train.Checkpoint:
        """What to restore from a checkpoint: all, or all but the random numbers it says less of."""
        keys = tf.train.load_checkpoint(path).get_variable_to_shape_map()
        if sum(key.startswith("seeds/") for key in keys) == len(self._seeds):
            return self._checkpoint
        for copy, state in zip(self._seeds, _seed_states(self._model), strict=True):
            copy.assign(keras.ops.convert_to_numpy(state))
        _LOG.warning(
            "the checkpoint does not say where the random numbers of the model's layers, as of "
            "Dropout, stood: those begin anew, and the rest is restored"
        )
        return tf.train.Checkpoint(model=self._model, means=self._means)

    def _remember(self, path: str, grow: Collection | None) -> None:
        """Tells the model whose the rows of its tables are by now, and whether that is saved."""
        fingerprint = self._model.examples_fingerprint
        file = kept_examples.names_file(self._folder, fingerprint)
        load = functools.partial(ExampleNames.load, file)
        names = functools.partial(names_of, grow) if grow else load
        self._model.remember_examples(names)
        self._model.averaged_step = None
        grown = fingerprint != kept_examples.fingerprint_of(path)
        self._saved_step = None if grown else self._model.trained_steps

    def _reason(self, path: str, error: Exception) -> str:
        """Why a checkpoint cannot be restored, in a line."""
        other = kept_examples.other_rows(path, self._model.contrastive_loss)
        return other or first_line(error)

    @functools.cached_property
    def _manager(self) -> tf.train.CheckpointManager:
        """What writes; made when first needed, because who only restores must change nothing."""
        for fragment in self._folder.glob("step-*_temp"):
            shutil.rmtree(fragment)
        self._mend_list()
        return tf.train.CheckpointManager(
            self._checkpoint, str(self._folder), max_to_keep=self._keep, checkpoint_name="step"
        )

    def _mend_list(self) -> None:
        """Lets TensorFlow's list of the checkpoints name those that are there.

        A process that is killed between the two leaves a checkpoint that the list lacks, and that
        nobody would ever remove.
        """
        found = self._newest_first()[::-1]
        if found and _listed(self._folder) != [pathlib.Path(path).name for path in found]:
            tf.compat.v1.train.update_checkpoint_state(
                self._folder,
                found[-1],
                found,
                # Without times TensorFlow would keep them for ever, and forget them in its list.
                all_model_checkpoint_timestamps=[_written(path) for path in found],
                last_preserved_timestamp=0.0,
            )

    def _newest_first(self) -> list[str]:
        return _newest_first(self._folder)

    def _remove_fragments(self, step: int) -> None:
        """Removes what a failed save left, which would fill the disk further."""
        for path in [*self._folder.glob(f"step-{step}.*"), *self._folder.glob(f"step-{step}_*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _seed_states(model: keras.Model) -> list[keras.Variable]:
    """The variables that are neither weights nor metrics: those of layers' random generators."""
    others = {id(variable) for variable in [*model.weights, *model.metrics_variables]}
    return [variable for variable in model.variables if id(variable) not in others]


def _copies(variables: Iterable[keras.Variable]) -> list[tf.Variable]:
    return [tf.Variable(tf.zeros(variable.shape, variable.dtype)) for variable in variables]


def _newest_first(folder: pathlib.Path) -> list[str]:
    """Prefixes of all checkpoints in a folder, the one written last at the start.

    The list has them in the order of writing, which is not that of their steps where a callback
    restored an earlier state. What it lacks was written after it, unless its file is older.
    """
    names = (re.fullmatch(r"(step-(\d+))\.index", path.name) for path in folder.glob("*"))
    steps = {name[1]: int(name[2]) for name in names if name}
    order = {name: place for place, name in enumerate(_listed(folder)) if name in steps}
    last = max((_written(folder / name) for name in order), default=0.0)

    def place(name):
        unlisted = len(steps) if _written(folder / name) >= last else -1
        return order.get(name, unlisted), steps[name]

    return [str(folder / name) for name in sorted(steps, key=place, reverse=True)]


def _written(path: str | pathlib.Path) -> float:
    """When the checkpoint of a prefix was written, in seconds; 0 where it is gone by now."""
    try:
        return pathlib.Path(f"{path}.index").stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _listed(folder: pathlib.Path) -> list[str]:
    """The names of TensorFlow's list, in its order; none where it cannot be read."""
    try:
        state = tf.train.get_checkpoint_state(folder)
    except (ValueError, text_format.ParseError):
        return []
    paths = state.all_model_checkpoint_paths if state else []
    return [pathlib.Path(path).name for path in paths]
