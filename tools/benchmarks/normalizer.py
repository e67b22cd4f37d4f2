"""What `sogclr_tf.normalizer_error` costs beside the encoder's forward pass.

Of projections at hand: the exact log g of 2N anchors against the table, and against batches. Each
row is a process of its own.
"""

import time

from benchmarks import children, memory, report

MIB = 2**20


def add_arguments(parser):
    parser.description = __doc__
    parser.add_argument("--examples", type=float, nargs="+", default=[1e4, 5e4], help="N")
    parser.add_argument("--width", type=int, default=128, help="D")
    parser.add_argument("--batch", type=int, default=64, help="B, where batches are measured")


def run(options):
    rows = []
    for examples in map(int, options.examples):
        for batch in (None, options.batch):
            what = {"examples": examples, "width": options.width, "batch": batch}
            rows.append({**what, **children.call("normalizer", "measured", **what)})
    return rows, table(rows)


def measured(examples, width, batch):
    """Seconds of one measurement, and the most bytes that its process ever held."""
    import sogclr_tf

    model, data = given(examples, width)
    began = time.perf_counter()
    sogclr_tf.normalizer_error(model, data, batch_size=batch)
    return {"seconds": time.perf_counter() - began, "peak": memory.used()["peak"]}


def given(examples, width):
    """A model of a filled table that looks its projections up, and its data."""
    import numpy as np
    import tensorflow as tf

    import sogclr_tf
    from sogclr_tf.models.contrastive import ContrastiveModel

    # No arrays, which a graph would hold as constants.
    a, b = tf.unstack(np.random.default_rng(0).normal(size=(2, examples, width)).astype("float32"))
    b = a + 0.5 * b

    class Given(ContrastiveModel):
        batch_spec = sogclr_tf.SogCLR.batch_spec

        def encode_batch(self, batch, training=False):  # noqa: ARG002
            return None, *(tf.gather(side, batch["index"]) for side in (a, b))

    model = Given(sogclr_tf.GlobalContrastiveLoss(examples))
    model.built = True
    model.contrastive_loss.log_u.assign(np.zeros(examples, np.float32))
    return model, {"index": np.arange(examples)}


def table(rows):
    columns = ["N", "estimates", "seconds", "MiB at most, TensorFlow's own among them"]
    cells = [
        [
            f"{row['examples']:,}",
            "the table" if row["batch"] is None else f"batches of {row['batch']}",
            f"{row['seconds']:,.1f}",
            f"{row['peak'] / MIB:,.0f}",
        ]
        for row in rows
    ]
    return report.table(columns, cells)
