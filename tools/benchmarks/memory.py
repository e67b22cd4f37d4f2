"""Resident memory: of the loss and of the whole step by N, B and D, and of the command.

Every row is a process of its own: what it had in memory at its highest, and after its steps. With
--parts ways it is that of the step of a large batch as a whole, in chunks, and as small batches.
"""

import contextlib
import statistics
import time
import types

from benchmarks import children, command, report, ways

MIB = 2**20
PARTS = ("imports", "loss", "step", "command")
WAYS = "ways"


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
    ways.add_arguments(parser)
    parts = [*PARTS, WAYS]
    parser.add_argument("--parts", nargs="+", choices=parts, default=PARTS, help="these alone")
    parser.add_argument("--rounds", type=int, default=3)


def run(options):
    work = processes(options)
    used = [[measure() for _, measure in work] for _ in range(options.rounds)]
    rows = []
    for (what, _), each in zip(work, zip(*used, strict=True), strict=True):
        rows.append({**what, **{key: [one[key] for one in each] for key in each[0]}})
    tables = [
        made([row for row in rows if (row["part"] == "way") == (made is ways.table)])
        for made, asked in ((table, {*options.parts} - {WAYS}), (ways.table, WAYS in options.parts))
        if asked
    ]
    return rows, "\n\n".join(tables)


def processes(options):
    """[({what is measured}, function that returns its bytes)] of the chosen parts, bases first."""
    found = {
        "imports": [({"part": "imports alone"}, _child("imports", {}))],
        "loss": [({"part": "loss", **shape}, _child("loss", shape)) for shape in _shapes(options)],
        "step": [_step_of(options, batch) for batch in options.step_batch],
        "command": [({"part": "the command on digits, an epoch"}, command_on_digits)],
        WAYS: ways.processes(
            options, {"examples": int(min(options.examples)), **_network(options)}
        ),
    }
    return [process for part in options.parts for process in found[part]]


def _shapes(options):
    """One of N, B and D after another grows, from the smallest on."""
    grown = {"examples": sorted(map(int, options.examples))}
    grown |= {"batch": options.batch, "width": options.width}
    base = {name: sizes[0] for name, sizes in grown.items()}
    return [base] + [{**base, name: size} for name, sizes in grown.items() for size in sizes[1:]]


def _step_of(options, batch):
    shape = {"examples": int(min(options.examples)), "batch": batch}
    what = {"part": f"step of {options.encoder}", **shape}
    return what, _child("step", {**shape, **_network(options)})


def _network(options):
    return {name: getattr(options, name) for name in ("encoder", "widths", "stem_stride", "side")}


def _child(part, shape):
    return lambda: children.call("memory", part, **shape)


def imports():
    """What a process uses that has everything imported and has done nothing."""
    from benchmarks import loss, step  # noqa: F401

    return used()


def loss(*, examples, batch, width):
    """What a process uses that takes steps of the loss alone."""
    from benchmarks import loss

    contender = loss.sogclr(batch, examples, width)
    for _ in range(3):
        contender()
    return used()


def step(**shape):
    """What a process uses that takes whole training steps."""
    from benchmarks import step

    one = step.trained(types.SimpleNamespace(**shape))
    for _ in range(3):
        one()
    return used()


def used(process="self"):
    """Bytes of a process, by its id: {"peak": at the highest, "now": as it is}."""
    # Not getrusage, whose maximum holds that of the parent before the fork.
    with open(f"/proc/{process}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    names = {"peak": "VmHWM", "now": "VmRSS"}
    return {key: 1024 * int(status[name].split()[0]) for key, name in names.items()}


def command_on_digits():
    """The peak of the command while it trains for an epoch."""
    flags = ["--mode=train", "--config.epochs=1", "--config.optimizer.warmup_epochs=0.0"]
    peak = 0
    with command.running(*flags) as run:
        while run.process.poll() is None:
            # A process at its end has no memory to tell of.
            with contextlib.suppress(OSError, KeyError):
                peak = used(run.process.pid)["peak"]
            time.sleep(0.01)
        command.wait(run)
    return {"peak": peak}


def table(rows):
    """MiB, what was added to the first row of the same part, and what the arrays alone take."""
    columns = ["process", "N", "B", "D", "at the highest, MiB", "spread", "added"]
    columns += ["after it, MiB", "added", "table, similarities"]
    return report.table(columns, [_cells(row, rows) for row in rows])


def _cells(row, rows):
    base = next(each for each in rows if each["part"] == row["part"])
    return [
        row["part"],
        *(f"{row[key]:,}" if key in row else "" for key in ("examples", "batch", "width")),
        f"{statistics.median(row['peak']) / MIB:,.0f}",
        f"{min(row['peak']) / MIB:,.0f} to {max(row['peak']) / MIB:,.0f}",
        _added(row, base, "peak"),
        f"{statistics.median(row['now']) / MIB:,.0f}" if "now" in row else "",
        _added(row, base, "now"),
        _arrays(row) if "examples" in row else "",
    ]


def _added(row, base, key):
    if row is base:
        return ""
    return f"{(statistics.median(row[key]) - statistics.median(base[key])) / MIB:,.0f}"


def _arrays(row):
    """MiB of the table [N] and of one matrix of similarities [2B, 2B], both float32."""
    return f"{4 * row['examples'] / MIB:,.1f}, {16 * row['batch'] ** 2 / MIB:,.1f}"
