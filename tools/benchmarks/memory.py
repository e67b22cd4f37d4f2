"""Resident memory: of the loss and of the whole step by N, B and D, and of the command.

Every row is a process of its own, and what it had in memory at its highest.
"""

import os
import resource
import statistics
import types

from benchmarks import children, command, report

MIB = 2**20


def add_arguments(parser):
    parser.description = __doc__
    parser.add_argument("--examples", type=float, nargs="+", default=[1e4, 1e7, 1e8], help="N")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256, 1024], help="B")
    parser.add_argument("--width", type=int, nargs="+", default=[128, 512], help="D")
    parser.add_argument("--step_batch", type=int, nargs="+", default=[64, 128], help="B of a step")
    parser.add_argument("--encoder", default="resnet18", help="of the step")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64, 128, 256])
    parser.add_argument("--stem_stride", type=int, default=2)
    parser.add_argument("--side", type=int, default=32, help="pixels of a view")
    parser.add_argument("--rounds", type=int, default=3)


def run(options):
    work = processes(options)
    peaks = [[measure() for _, measure in work] for _ in range(options.rounds)]
    rows = [
        {**what, "peak": list(values)}
        for (what, _), values in zip(work, zip(*peaks, strict=True), strict=True)
    ]
    return rows, table(rows)


def processes(options):
    """[({what is measured}, function that returns the bytes at the highest)], bases first."""
    sizes = sorted(map(int, options.examples))
    base = {"examples": sizes[0], "batch": options.batch[0], "width": options.width[0]}
    loss = [
        base,
        *({**base, "examples": examples} for examples in sizes[1:]),
        *({**base, "batch": batch} for batch in options.batch[1:]),
        *({**base, "width": width} for width in options.width[1:]),
    ]
    network = {
        name: getattr(options, name) for name in ("encoder", "widths", "stem_stride", "side")
    }
    steps = [{"examples": sizes[0], "batch": batch} for batch in options.step_batch]
    nothing = {"part": "imports alone"}, lambda: children.call("memory", "imports")
    return [
        nothing,
        *(({"part": "loss", **shape}, _child("loss", shape)) for shape in loss),
        *(
            ({"part": f"step of {options.encoder}", **shape}, _child("step", {**shape, **network}))
            for shape in steps
        ),
        ({"part": "the command on digits, an epoch"}, command_on_digits),
    ]


def _child(part, shape):
    return lambda: children.call("memory", part, **shape)


def imports():
    """The peak of a process that has everything imported and has done nothing."""
    from benchmarks import loss, step  # noqa: F401

    return _peak()


def loss(*, examples, batch, width):
    """The peak of a process that takes steps of the loss alone."""
    from benchmarks import loss

    contender = loss.sogclr(batch, examples, width)
    for _ in range(3):
        contender()
    return _peak()


def step(**shape):
    """The peak of a process that takes whole training steps."""
    from benchmarks import step

    one = step.trained(types.SimpleNamespace(**shape))
    for _ in range(3):
        one()
    return _peak()


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def command_on_digits():
    """The peak of the command while it trains for an epoch."""
    flags = ["--mode=train", "--config.epochs=1", "--config.optimizer.warmup_epochs=0.0"]
    with command.running(*flags) as run:
        _, status, usage = os.wait4(run.process.pid, 0)
        run.process.returncode = os.waitstatus_to_exitcode(status)
        command.wait(run)
    return usage.ru_maxrss * 1024


def table(rows):
    """MiB, what was added to the first row of the same part, and what the arrays alone take."""
    columns = [
        "process",
        "N",
        "B",
        "D",
        "MiB at the highest",
        "spread",
        "added",
        "table, similarities",
    ]
    return report.table(columns, [_cells(row, rows) for row in rows])


def _cells(row, rows):
    base = next(each for each in rows if each["part"] == row["part"])
    middle = statistics.median(row["peak"])
    added = middle - statistics.median(base["peak"])
    return [
        row["part"],
        *(f"{row[key]:,}" if key in row else "" for key in ("examples", "batch", "width")),
        f"{middle / MIB:,.0f}",
        f"{min(row['peak']) / MIB:,.0f} to {max(row['peak']) / MIB:,.0f}",
        "" if row is base else f"{added / MIB:,.0f}",
        _arrays(row) if "examples" in row else "",
    ]


def _arrays(row):
    """MiB of the table [N] and of one matrix of similarities [2B, 2B], both float32."""
    return f"{4 * row['examples'] / MIB:,.1f}, {16 * row['batch'] ** 2 / MIB:,.1f}"
