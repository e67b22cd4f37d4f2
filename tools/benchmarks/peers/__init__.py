"""This package beside its peers in one run: LibAUC's loss, PyTorch's step, SimCLR's pipeline.

Each works in a process of its own, which is ready before anything is timed, and they take turns.
PyTorch and LibAUC have environments of their own, made on first use in .venv-peers/ from
tools/benchmarks/peers/requirements/ and kept; google-research/simclr is on no index and is measured
where --simclr names a checkout. A peer that cannot be had has a row that says why.
"""

import contextlib
import pathlib
import sys
from typing import NamedTuple

from benchmarks import bare, report
from benchmarks.measure import timing
from benchmarks.peers import environments, workers
from benchmarks.peers.environments import PeerMissingError

OURS = "sogclr_tf"
TF2_MODULE = pathlib.Path("tf2", "data_util.py")


class Contender(NamedTuple):
    """One side of a comparison.

    Attributes:
        name: of the row.
        python: function that returns the interpreter, or raises PeerMissingError.
        work: (module, function, arguments) of `benchmarks.turns`.
    """

    name: str
    python: object
    work: tuple


def add_arguments(parser):
    parser.description = __doc__
    parser.add_argument("--only", nargs="+", choices=COMPARISONS, help="these alone")
    parser.add_argument("--simclr", type=pathlib.Path, help="a checkout of google-research/simclr")
    bare.add_network_arguments(parser)
    parser.add_argument("--examples", type=float, default=1.28e6, help="N, of the table")
    parser.add_argument("--loss_batch", type=int, default=256, help="B of the loss")
    parser.add_argument("--width", type=int, default=128, help="D of the loss")
    parser.add_argument("--size", type=int, choices=[32, 224], help="of views, one of the two")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="of every turn, at least")


def run(options):
    found, rows, versions = {}, [], {}
    for name in options.only or COMPARISONS:
        for work, contenders in COMPARISONS[name](options):
            timings, missing = measured(contenders, options, versions)
            found[work] = {
                **{whose: each._asdict() for whose, each in timings.items()},
                **{whose: {"not measured": why} for whose, why in missing.items()},
            }
            rows += [cells(work, whose.name, timings, missing) for whose in contenders]
    columns = ["work", "whose", "images/s", "quartiles", "speed of ours to it"]
    return found, report.table(columns, rows) + "".join(f"\n{line}\n" for line in notes(versions))


def here():
    return sys.executable


def environment(name):
    return lambda: environments.python(name)


def losses(options):
    """The comparison of a step of the loss: [(what, [`Contender`])]."""
    shape = {
        "batch": options.loss_batch,
        "examples": int(options.examples),
        "width": options.width,
    }
    libauc = ("benchmarks.libauc_loss", "work", shape)
    yield (
        f"loss, gradient and table, B = {shape['batch']}, D = {shape['width']}, "
        f"N = {shape['examples']:,}",
        [
            Contender(OURS, here, ("benchmarks.peers.ours", "loss", shape)),
            Contender("LibAUC's GCLoss", environment("libauc"), libauc),
        ],
    )


def steps(options):
    """The comparison of a training step."""
    names = ("encoder", "widths", "stem_stride", "side", "batch")
    ours = {name: getattr(options, name) for name in names} | {"examples": int(options.examples)}
    theirs = {"batch": options.batch, "side": options.side, "layout": bare.layout(options)}
    torch = ("benchmarks.torch_step", "work", theirs)
    yield (
        f"step of {options.encoder}, {options.side}x{options.side}, B = {options.batch}",
        [
            Contender(f"{OURS}: SogCLR, LARS", here, ("benchmarks.peers.ours", "step", ours)),
            Contender("PyTorch: bare step, channels last", environment("torch"), torch),
        ],
    )


def pipelines(options):
    """The comparisons of the input pipeline."""
    for size, strength, blur, title in (
        (32, 0.5, 0.0, "views of 32x32"),
        (224, 1.0, 0.0, "views of 224x224, without blur"),
        (224, 1.0, 0.5, "views of 224x224, half of them blurred"),
    ):
        if options.size not in (None, size):
            continue
        shape = {"size": size, "strength": strength, "blur": blur}
        theirs = {"folder": str(options.simclr and options.simclr.absolute()), **shape}
        simclr = ("benchmarks.peers.simclr", "views", theirs)
        yield (
            title,
            [
                Contender(OURS, here, ("benchmarks.peers.ours", "views", shape)),
                Contender("google-research/simclr", checkout(options.simclr), simclr),
            ],
        )


COMPARISONS = {"loss": losses, "step": steps, "input": pipelines}


def checkout(folder):
    """A function that returns this interpreter where `folder` is a checkout of SimCLR."""

    def python():
        if folder is None:
            raise PeerMissingError("give a checkout of it, --simclr=DIR")
        if not (folder / TF2_MODULE).is_file():
            raise PeerMissingError(f"{folder} has no {TF2_MODULE}: give a checkout, --simclr=DIR")
        return here()

    return python


def measured(contenders, options, versions):
    """Turns of all contenders, round by round, every second round backwards.

    Args:
        contenders: list of `Contender`, ours first.
        options: of the command line.
        versions: dict of {package: version}, filled with what the peers' environments have.

    Returns:
        ({name: `measure.Timing` of seconds of an image}, {name: why it was not measured}).

    Raises:
        RuntimeError: ours could not be measured.
    """
    ready, missing = {}, {}
    with contextlib.ExitStack() as stack:
        for one in contenders:
            with noting(one.name, missing):
                ready[one.name] = stack.enter_context(workers.working(one.python(), *one.work))
                if one.python is not here:
                    versions |= ready[one.name].versions
        seconds = {name: [] for name in ready}
        for number in range(options.rounds):
            for name in list(ready)[:: -1 if number % 2 else 1]:
                if name not in missing:
                    with noting(name, missing):
                        seconds[name].append(ready[name].turn(options.seconds))
    if why := missing.get(contenders[0].name):
        raise RuntimeError(f"{contenders[0].name} was not measured: {why}")
    return {name: timing(each) for name, each in seconds.items() if name not in missing}, missing


@contextlib.contextmanager
def noting(name, missing):
    try:
        yield
    except PeerMissingError as error:
        missing[name] = str(error)


def cells(work, name, timings, missing):
    """A row of the table; the first of `timings` is ours."""
    if name in missing:
        return [work, name, f"not measured: {missing[name]}", "", ""]
    low, median, high = (1 / getattr(timings[name], part) for part in ("high", "median", "low"))
    ours = next(iter(timings.values()))
    return [
        work,
        name,
        f"{median:,.1f}" if median < 1000 else f"{median:,.0f}",
        f"{low:,.1f} to {high:,.1f}" if median < 1000 else f"{low:,.0f} to {high:,.0f}",
        report.ratio(timings[name].over(ours)),
    ]


def notes(versions):
    theirs = [f"{name} {versions[name]}" for name in ("torch", "libauc") if name in versions]
    return [f"Peers in environments of their own: {', '.join(theirs)}."] if theirs else []
