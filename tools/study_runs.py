"""The runs of a study: each that ends is a line of a file, so that those missing can follow."""

import concurrent.futures
import json
import multiprocessing
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


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
