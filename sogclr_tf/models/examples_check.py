"""Whether the rows of a loss's table are those of the examples that a model is trained on."""

import functools
import logging
from typing import Any

from sogclr_tf.example_names import Collection, ExampleNames, check_same, names_of
from sogclr_tf.training import strategy

_LOG = logging.getLogger("sogclr_tf")


def check(model: Any, source: Collection) -> None:
    """Raises ValueError unless the rows of the model's table are those of the source's examples.

    The model remembers whose they are from its first training on: its fingerprint is a weight. It
    may be called again when weights were restored. A loss without a table goes with any source.
    Every worker must call it.

    Args:
        model: a `ContrastiveModel`.
        source: a `sogclr_tf.Source`, or whatever else has a name and `example_names`.

    Raises:
        ValueError: the table belongs to other examples, or several workers see different ones.
    """
    if not model.contrastive_loss.has_table:
        return
    names = names_of(source)
    found = strategy.from_all_workers(model.distribute_strategy, names.fingerprint)
    if len(set(found)) > 1:
        raise ValueError(
            f"the workers found different examples in {source.name}: all of them need the same, "
            "as an index must mean one image"
        )
    _compare(model, source.name, names)
    if model.trained_steps and not model.examples_fingerprint:
        _LOG.warning(
            "the model does not say whose the rows of its table are: they are taken to be those of "
            "%s",
            source.name,
        )
    model.remember_examples(functools.partial(names_of, source), names.fingerprint)


def compare(model: Any, source: Collection) -> None:
    """As `check`, but a model that does not say whose its rows are fits any, and stays so."""
    if model.contrastive_loss.has_table:
        _compare(model, source.name, names_of(source))


def _compare(model: Any, name: str, names: ExampleNames) -> None:
    # Before the first step the table is empty, whosever it is.
    if model.trained_steps:
        check_same(name, names, model.examples_fingerprint, model.known_examples)
