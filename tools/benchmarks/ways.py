"""The ways to train on a batch that is large: as a whole, in chunks, or as small ones."""

import statistics
import time
import types

from benchmarks import children, memory, report

MIB = 2**20
STEPS = 2


def add_arguments(parser):
    parser.add_argument("--large", type=int, default=256, help="B of the ways")
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 4, 16], help="of the large B")
    parser.add_argument("--small", type=int, default=16, help="B of the small batches of ways")


def processes(options, network):
    """[({what is measured}, function that measures it in a process of its own)] of all ways."""
    several = options.large // options.small
    ways = [(options.large, chunks, 1) for chunks in options.chunks]
    ways += [(options.small, 1, 1), (options.small, 1, several)]
    return [_way(options, network, *way) for way in ways]


def _way(options, network, batch, chunks, accumulated):
    way = {"batch": batch, "chunks": chunks, "accumulated": accumulated}
    what = {"part": "way", **way, "of": options.large}
    return what, lambda: children.call("ways", "measure", **way, **network)


def measure(*, accumulated, **shape):
    """What a process uses that takes training steps in one way, and the seconds of each."""
    from benchmarks import step

    chunks = shape.pop("chunks")
    one = step.trained(types.SimpleNamespace(**shape), chunks=chunks, accumulated=accumulated)
    one()
    seconds = []
    # Of which one at least applies what was accumulated.
    for _ in range(max(STEPS, accumulated)):
        start = time.perf_counter()
        one()
        seconds.append(time.perf_counter() - start)
    return {**memory.used(), "seconds": statistics.median(seconds)}


def table(rows):
    """MiB and seconds of every way, as Markdown; the seconds are of as many examples as `large`."""
    columns = ["way", "at the highest, MiB", "seconds for as many examples", "to the whole batch"]
    return report.table(columns, [_cells(row, rows[0]) for row in rows])


def _cells(row, whole):
    return [
        _name(row),
        f"{statistics.median(row['peak']) / MIB:,.0f}",
        f"{_seconds(row):.1f}",
        f"{_seconds(row) / _seconds(whole):.2f}",
    ]


def _seconds(row):
    return statistics.median(row["seconds"]) * row["of"] / row["batch"]


def _name(row):
    if row["accumulated"] > 1:
        return f"{row['accumulated']} batches of {row['batch']}, accumulated"
    if row["chunks"] > 1:
        return f"a batch of {row['batch']} in {row['chunks']} chunks"
    return f"a batch of {row['batch']}"
