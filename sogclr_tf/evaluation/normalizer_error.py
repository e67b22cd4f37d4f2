"""How far the estimates of g, by a table or by a batch, lie from g itself."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from sogclr_tf.data.stream import Stream
from sogclr_tf.evaluation import entry_age
from sogclr_tf.evaluation.all_pairs import AllPairs
from sogclr_tf.evaluation.measured_normalizer import MeasuredNormalizer
from sogclr_tf.evaluation.projections import Projections, in_batches, project_all, projecting
from sogclr_tf.losses.base import ContrastiveLoss
from sogclr_tf.models import examples_check, input_checks, own_batches
from sogclr_tf.models.contrastive import ContrastiveModel

# Examples of arrays that are projected at once.
_BATCH = 256


def normalizer_error(
    model: ContrastiveModel,
    data: Any,
    *,
    batch_size: int | None = None,
    training: bool = True,
    block: int = 1024,
) -> MeasuredNormalizer:
    """What the table of a model's loss is worth: log u against the exact log g of every anchor.

    The gradient of F (arXiv 2202.12387) divides by g, the mean over *all* negatives,

        g(z) = mean over the negatives z- of all N examples of exp(<z, z-> / temperature)

    of which u is an estimate. Here g is computed, block by block, with the model as it is, and

        error = log u - log g

    taken of every entry of the table that training has visited. An entry that both views of an
    example share (`GlobalContrastiveLoss`) is the mean of their g, and is compared with
    log((g(z_a) + g(z_b)) / 2); where each side has its own (`TwoWayGlobalContrastiveLoss`, whose g
    is of `exp((<z, z-> - <z, z+>) / temperature)`) both are compared. A loss without a table
    (`NTXentLoss`, `DecoupledContrastiveLoss`, `CLIPLoss`) divides by its own batch's mean: there
    log u is that of a batch of `batch_size` examples, drawn at random, for each of the 2N anchors.

        found = sogclr_tf.normalizer_error(model, views)
        print(found.bias, found.rms, found.correlation)     # of log u, in nats
        print(*found.by_age(), sep="\\n")                    # how it grows with the steps since

        sogclr_tf.normalizer_error(model, views, batch_size=64)     # a batch of 64, without a table

    Nothing of the model changes. Time grows with the square of N, memory with N. Projections are
    made as a training step makes them, because the table is of such: a batch normalization takes
    the statistics of the batch, as far behind as its moving ones may be. Learned temperatures are
    those of by now. After a `fit` whose optimizer averages weights the model has the averages,
    which its table is not of.

    Args:
        model: a `SogCLR` or `TwoTowerSogCLR` model.
        data: the views of all examples: a stream, of which every example is taken once, those
            that fill no batch among them, as the epoch that training is in draws and batches it;
            or a finite tf.data.Dataset, or a dictionary of arrays, as the model's `fit` takes them.
        batch_size: int in [2, N], to measure what a batch of so many examples would estimate,
            whatever the loss has. By default the table is measured or, where there is none, batches
            of the stream's size.
        training: False for projections of inference mode, each of its own view alone, of which
            `exact_global_objective` is.
        block: int >= 1, anchors that are compared at once with as many others.

    Returns:
        `MeasuredNormalizer`: arrays `log_u`, `log_g`, `index` and `age`, and the figures `bias`,
        `rms`, `deviation`, `correlation`, `compared`, `never_visited` and `by_age()`. Ages are
        known of a stream whose order the model was trained in, of the same source, batch size and
        seed; without a table there are none. Of batches, the anchors that fill none count as never
        visited.

    Raises:
        ValueError: the loss has no g, as SigLIP's, or rows of captions; an argument is out of range
            or missing, the model has no weights yet, the data lack an example that the table was
            trained on or give one twice, a stream is of other examples than the table, an index
            lies outside it, or a float image lies outside 0..1.
        NotImplementedError: a loss of your own has a table and no `log_u_of`.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> import sogclr_tf
        >>> encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
        >>> model = sogclr_tf.SogCLR(encoder, sogclr_tf.GlobalContrastiveLoss(num_examples=32))
        >>> model.compile(keras.optimizers.Adam(1e-3))
        >>> images = np.random.default_rng(0).integers(0, 256, [32, 8, 8, 3], np.uint8)
        >>> views = sogclr_tf.training_views(images, batch_size=16)
        >>> history = model.fit(views, epochs=2, verbose=0)
        >>> measured = sogclr_tf.normalizer_error(model, views)
        >>> bool(measured.rms >= abs(measured.bias))
        True
    """
    project = projecting(model, training)
    return measure(model, data, project, batch_size=batch_size, block=block)


def measure(
    model: ContrastiveModel,
    data: Any,
    project: Callable,
    *,
    batch_size: int | None = None,
    block: int = 1024,
) -> MeasuredNormalizer:
    """As `normalizer_error`, with what `projections.projecting` made of the model."""
    loss = model.contrastive_loss
    if not model.built:
        raise ValueError(f"the model '{model.name}' has no weights yet: train it first")
    check_measurable(loss)
    if batch_size is None and not loss.has_table:
        if not isinstance(data, Stream):
            raise ValueError(
                f"the loss '{loss.name}' has no table: give the batch_size whose own estimate is "
                "to be measured"
            )
        batch_size = data.batch_size
    if isinstance(data, Stream):
        examples_check.compare(model, data.source)
    with input_checks.clear_errors():
        found = _projected(model, data, project)
    temperature, _ = loss.temperatures_and_rho(found.index)
    pairs = AllPairs(found.a, found.b, temperature, loss.negatives, block)
    log_g = _log_g(pairs, loss)
    age = None
    if batch_size is not None:
        log_u = _of_batches(found, pairs.temperature, loss, batch_size, block)
    else:
        log_u = _of_table(loss, found.index)
        if len(log_u) == len(found.index):
            log_g = np.logaddexp(*np.split(log_g, 2)) - np.log(2)
        age = _ages(model, data, found.index, log_u)
    return _compared(log_u, log_g, found.index, age, model.trained_steps)


def check_measurable(loss: ContrastiveLoss) -> None:
    """Raises ValueError where a loss has no estimate of g that could be measured."""
    if not loss.has_normalizer:
        raise ValueError(f"the loss '{loss.name}' compares pair by pair: it has no g to estimate")
    if loss.num_captions is not None:
        raise ValueError(
            f"the loss '{loss.name}' has num_captions: an image's entry is of all its captions, of "
            "which the data show one each, so that its error is not measured"
        )


def _projected(model, data, project):
    """The `Projections` of every example, each in a whole batch where the batches are ours."""
    if isinstance(data, tf.data.Dataset):
        return project_all(in_batches(model.prepare_dataset(own_batches.checked(data))), project)
    if isinstance(data, Stream):
        count, rows = data.source.size, data.batch_size // model.chunks
        examples = data.all_examples(entry_age.current_epoch(model, data))
    else:
        count, rows = len(data["index"]), min(_BATCH, len(data["index"]))
        examples = tf.data.Dataset.from_tensor_slices(own_batches.checked(data))
    # The last batch is filled up: a few examples would have other statistics than a batch has.
    filled = examples.concatenate(examples.take(-count % rows)).batch(rows, drop_remainder=True)
    return project_all(in_batches(model.prepare_dataset(filled)), project, count)


def _log_g(pairs: AllPairs, loss: ContrastiveLoss) -> np.ndarray:
    """float64 [2N], of the views that are compared."""
    log_g = pairs.log_mean_of(pairs.log_sums())
    return log_g - pairs.positive / pairs.temperature if loss.of_differences else log_g


def _of_table(loss: ContrastiveLoss, index: np.ndarray) -> np.ndarray:
    """float32 [N] or [2N], log u; ValueError where an example that is in it has no views."""
    everyone = np.asarray(loss.log_u_of(tf.range(loss.num_examples)))
    others = np.ones(loss.num_examples, bool)
    log_u = np.asarray(loss.log_u_of(tf.constant(index)))
    others[index] = False
    lacking = others & ~np.isneginf(everyone.reshape(-1, loss.num_examples)).all(axis=0)
    if lacking.any():
        raise ValueError(
            f"the data lack example {lacking.argmax()}, which the table was trained on "
            f"({lacking.sum()} such in all): give the views of all of them, as g is their mean"
        )
    return log_u


def _of_batches(
    found: Projections,
    temperature: np.ndarray,
    loss: ContrastiveLoss,
    batch_size: int,
    block: int,
) -> np.ndarray:
    """float64 [2N], what batches of distinct examples drawn at random give; -inf in none."""
    count = len(found.index)
    if not 2 <= batch_size <= count:
        raise ValueError(f"batch_size is {batch_size}: expected 2 to {count}, the examples given")
    log_g = np.full(2 * count, -np.inf)
    whole = count // batch_size * batch_size
    for rows in np.random.default_rng(0).permutation(count)[:whole].reshape(-1, batch_size):
        anchors = np.concatenate([rows, rows + count])
        pairs = AllPairs(found.a[rows], found.b[rows], temperature[anchors], loss.negatives, block)
        log_g[anchors] = _log_g(pairs, loss)
    return log_g


def _ages(model, data, index, log_u):
    """int64 like `log_u`, or None."""
    if not isinstance(data, Stream):
        return None
    visited = ~np.isneginf(log_u)
    sides = visited.reshape(-1, len(index))
    age = entry_age.steps_since_visit(model, data, index, sides[0])
    # Both sides of an example are visited at once.
    return None if age is None or (sides != sides[0]).any() else np.tile(age, len(sides))


def _compared(log_u, log_g, index, age, step):
    visited = ~np.isneginf(log_u)
    index = np.tile(index, len(log_u) // len(index))
    return MeasuredNormalizer(
        log_u=log_u[visited].astype(np.float32),
        log_g=log_g[visited].astype(np.float32),
        index=index[visited],
        age=None if age is None else age[visited],
        never_visited=int((~visited).sum()),
        step=step,
    )
