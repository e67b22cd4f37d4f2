"""What replicas send each other in a step of SogCLR, beside what the method needs.

Each number of devices has a process of its own, whose CPU is split into so many.
"""

import statistics
import time
import types

from benchmarks import children, report

# What the method itself says, in order; the rest is of any network on several devices.
OF_THE_METHOD = ("projections", "the table", "gradients of the projections")


def add_arguments(parser):
    parser.description = __doc__
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--stem_stride", type=int, default=2)
    parser.add_argument("--side", type=int, default=32, help="pixels of a view")
    parser.add_argument("--batch", type=int, default=64, help="B, over all devices")
    parser.add_argument("--examples", type=int, default=50_000, help="N, of the table")
    parser.add_argument("--steps", type=int, default=3, help="timed, in every turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of every number of devices")


def run(options):
    shape = {
        name: getattr(options, name)
        for name in ("encoder", "widths", "stem_stride", "side", "batch", "examples", "steps")
    }
    turns = [
        {count: children.call("scaling", "measure", devices=count, **shape) for count in counts}
        for counts in [options.devices] * options.rounds
    ]
    found = turns[0]
    for count, measured in found.items():
        measured["seconds"] = [second for turn in turns for second in turn[count]["seconds"]]
        measured["least"] = least(options.batch, measured["width"], count)
    return found, table(found, options)


def measure(*, devices, steps, **shape):
    """Of one number of devices: its messages, copies and collectives, and seconds of steps."""
    import tensorflow as tf
    from benchmarks import traffic

    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * devices,
    )
    strategy, model, batches = training(devices, types.SimpleNamespace(**shape))
    messages, copies, collectives = traffic.of_step(strategy, model, batches)
    return {
        "messages": [{**each._asdict(), "sent": each.sent(devices)} for each in messages],
        "copies": copies,
        "collectives": collectives,
        "width": model.projector.output_shape[-1],
        "seconds": seconds_of_steps(model, batches, steps),
    }


def training(devices, options):
    """(strategy, model, iterator of distributed batches) of SogCLR with LARS and the probe."""
    import tensorflow as tf
    from benchmarks import bare
    from benchmarks.step import PROBED, batch

    import sogclr_tf

    strategy = sogclr_tf.build_strategy("mirrored" if devices > 1 else "one")
    with strategy.scope():
        loss = sogclr_tf.GlobalContrastiveLoss(options.examples)
        probe = sogclr_tf.OnlineProbe(PROBED)
        model = sogclr_tf.SogCLR(bare.encoder(options), loss, probe=probe)
        model.compile(sogclr_tf.LARS(bare.RATE), jit_compile=False)
        model.build_from(batch(options))
        model.optimizer.build(model.trainable_variables)
    stream = tf.data.Dataset.from_tensors(batch(options)).repeat()
    return strategy, model, iter(strategy.experimental_distribute_dataset(stream))


def seconds_of_steps(model, batches, steps):
    """Seconds of each step, as `fit` takes them, after one that does not count."""
    model.make_train_function()
    float(model.train_function(batches)["loss"])
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        float(model.train_function(batches)["loss"])
        seconds.append(time.perf_counter() - began)
    return seconds


def least(batch, width, devices):
    """{what: bytes that each replica must send} of the method, around a ring.

    Each replica needs all projections of both views, all indices and all new rows of the table; and
    of the gradient by all projections the sum over replicas of its own rows.
    """
    others = (devices - 1) / devices
    projections = 2 * batch * width * 4
    return dict(
        zip(OF_THE_METHOD, (others * x for x in (projections, 8 * batch, projections)), strict=True)
    )


def table(found, options):
    """A row for each thing that is said, and the sum of the method's own, as Markdown."""
    columns = [
        f"{options.encoder}, B = {options.batch}, devices",
        "what is sent",
        "messages",
        "largest, of a replica",
        "bytes sent by each",
        "bytes needed",
    ]
    rows = [row for count, measured in found.items() for row in _rows(count, measured)]
    pace = ", ".join(
        f"{1e3 * statistics.median(measured['seconds']):.0f} ms on {count}"
        for count, measured in found.items()
    )
    return report.table(columns, rows) + f"\nA step takes {pace}, which share the same cores.\n"


def _rows(count, measured):
    if count == 1:
        return [[1, "nothing", 0, "", 0, 0]]
    kinds = dict.fromkeys([*OF_THE_METHOD, *(each["what"] for each in measured["messages"])])
    rows = []
    for what in kinds:
        said = [each for each in measured["messages"] if each["what"] == what]
        largest = max(said, key=lambda each: each["bytes"])
        shape = f"{largest['dtype']} {largest['shape']}"
        needed = measured["least"].get(what)
        sent = sum(each["sent"] for each in said)
        cells = [shape, f"{sent:,.0f}", "" if needed is None else f"{needed:,.0f}"]
        rows.append([count, what, len(said), *cells])
    return rows
