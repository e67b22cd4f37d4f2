"""The runs of a study: each that ends is a line of a file, so that those missing can follow."""

import argparse
import concurrent.futures
import functools
import json
import multiprocessing
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def command(doc, data, name, kind, stages, train, markdown):
    """The command of a study: trains what is missing, then writes and prints its table.

    Args:
        doc: of the program; its first line is shown by --help.
        data: (name, help) of the flag that says where the data are; `train` takes it by that name.
        name: of the files NAME.jsonl and NAME.md in the folder of studies.
        kind: the NamedTuple that a run is.
        stages: functions from the results so far to runs, in the order in which they are trained.
        train: function at a module's top level, as of `train_missing`.
        markdown: function from the results to the table.
    """
    flag, what = data
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("command", nargs="?", choices=["study", "table"], default="study")
    parser.add_argument(f"--{flag}", help=what)
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("docs/study"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    results = options.workdir / f"{name}.jsonl"
    if options.command == "study":
        place = getattr(options, flag)
        if place is None:
            parser.error(f"the study needs --{flag}")
        options.workdir.mkdir(parents=True, exist_ok=True)
        trained = functools.partial(train, **{flag: place})
        for stage in stages:
            train_missing(stage(read(results, kind)), trained, results, options.processes)
    table = markdown(read(results, kind))
    (options.workdir / f"{name}.md").write_text(table)
    print(table)


def train_missing(runs, train, results, processes):
    """Trains the runs that have no line in `results` yet, and writes theirs as they end.

    Args:
        runs: NamedTuples of one kind, in the order in which they are to be trained.
        train: function at a module's top level, from a run to a dictionary that JSON can hold.
        results: pathlib.Path of the file of lines.
        processes: how many to train at a time, each on one core.
    """
    done = read(results, type(runs[0])) if runs else {}
    missing = [run for run in runs if run not in done]
    context = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ProcessPoolExecutor(processes, context, one_thread) as pool,
        results.open("a") as file,
    ):
        futures = {pool.submit(train, run): run for run in missing}
        for number, future in enumerate(concurrent.futures.as_completed(futures), 1):
            run, found = futures[future], future.result()
            file.write(json.dumps({**run._asdict(), **found}) + "\n")
            file.flush()
            shown = ", ".join(f"{key} {value:.4g}" for key, value in found.items())
            print(f"{number}/{len(missing)} {run}: {shown}", flush=True)


def read(results, kind):
    """{run: what its training found} of the runs, of the NamedTuple `kind`, that ended.

    A field that a line lacks has its default.
    """
    if not results.exists():
        return {}
    text = results.read_text()
    whole = text.rfind("\n") + 1
    # A process killed while writing leaves half a line, which the next one must not be glued to.
    if whole < len(text):
        os.truncate(results, whole)
    found = [json.loads(line) for line in text[:whole].splitlines()]
    return {
        kind(**{key: line.pop(key) for key in kind._fields if key in line}): line for line in found
    }


def one_thread():
    """Keeps a process of the study to one core."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
