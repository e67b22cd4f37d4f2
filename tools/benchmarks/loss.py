"""What a step of each loss costs: forward, gradient and tables, beside NT-Xent.

Beside them SogCLR with a table that is written whole in every step, as the authors' TensorFlow code
does, and LibAUC's GCLoss where that can be imported.
"""

import itertools

import tensorflow as tf
from benchmarks import report
from benchmarks.measure import interleaved
from benchmarks.projections import inputs

import sogclr_tf
from sogclr_tf.losses.global_contrastive import global_loss
from sogclr_tf.losses.registry import loss_names

REFERENCE = ("simclr", None)


def add_arguments(parser):
    parser.add_argument("--batch", type=int, nargs="+", default=[256], help="B")
    parser.add_argument(
        "--examples", type=float, nargs="+", default=[1e4, 1.28e6, 1e8], help="N; 4 GB at 1e8"
    )
    parser.add_argument("--width", type=int, default=128, help="D of the projections")
    parser.add_argument("--rounds", type=int, default=25)


def run(options):
    rows, notes = [], []
    sizes = sorted(map(int, options.examples))
    for batch in options.batch:
        steps, notes = contenders(batch, sizes, options.width)
        timings = interleaved(steps, options.rounds)
        for (name, examples), timing in timings.items():
            smallest = timings[name, sizes[0] if examples else None]
            rows.append(
                {
                    "loss": name,
                    "batch": batch,
                    "examples": examples,
                    "time": timing,
                    "to_nt_xent": timing.over(timings[REFERENCE]),
                    "to_smallest": timing.over(smallest),
                }
            )
    return [_as_json(row) for row in rows], table(rows) + "".join(f"\n{note}\n" for note in notes)


def contenders(batch, sizes, width):
    """({(name, N, or None without a table): a function that takes one step}, notes for people)."""
    found, notes = {}, []
    for examples in sizes:
        a, b, batches = inputs(batch, examples, width)
        for name in loss_names():
            loss = sogclr_tf.build_loss(name, examples)
            key = (name, examples if loss.has_table else None)
            found[key] = step(loss, a, b, batches)
        found["sogclr, whole table", examples] = step(WholeTable(examples), a, b, batches)
        try:
            from benchmarks import libauc_loss

            found["LibAUC's GCLoss", examples] = libauc_loss.step(a, b, batches, examples)
        except ImportError as error:
            notes = [f"LibAUC's GCLoss is left out: {error}."]
    return found, notes


def sogclr(batch, examples, width):
    """`step` of SogCLR."""
    return step(sogclr_tf.GlobalContrastiveLoss(examples), *inputs(batch, examples, width))


class WholeTable(sogclr_tf.GlobalContrastiveLoss):
    """SogCLR that makes a new table in every step and assigns all of it."""

    def compute(self, compared, index, training):
        log_g = compared.log_mean_exp(self.temperature)
        log_u = tf.stop_gradient(log_g)
        if training:
            log_u, ((_, rows),) = self._normalizer.update(index, log_u)
            self.log_u.assign(tf.tensor_scatter_nd_update(self.log_u, index[:, None], rows))
        return global_loss(compared, self.temperature, log_g, log_u)


def step(loss, a, b, batches):
    """A function that takes one step: loss, gradient by the projections, tables.

    Args:
        loss: of this package.
        a, b: float32 [B, D].
        batches: list of int32 [B], the examples of one step after another.
    """
    a, b = tf.constant(a), tf.constant(b)
    index = itertools.cycle([tf.constant(one) for one in batches])
    loss.build(None)

    @tf.function
    def compiled(index):
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            value = loss(a, b, index)
        return tape.gradient(value, [a, b])

    return lambda: compiled(next(index))[0].numpy()


def table(rows):
    columns = ["loss", "B", "N", "ms", "quartiles", "to NT-Xent", "to the smallest N"]
    return report.table(columns, [_cells(row) for row in rows])


def _cells(row):
    examples = row["examples"]
    return [
        row["loss"],
        row["batch"],
        "" if examples is None else f"{examples:,}",
        *report.milliseconds(row["time"]),
        report.ratio(row["to_nt_xent"]),
        "" if examples is None else report.ratio(row["to_smallest"]),
    ]


def _as_json(row):
    return {
        key: value._asdict() if hasattr(value, "_asdict") else value for key, value in row.items()
    }
