"""What a step of each objective costs: forward, gradient and tables, beside NT-Xent."""

import json

import numpy as np
import tensorflow as tf
from benchmarks.measure import interleaved

from sogclr_tf.objectives import build_objective, objective_names


def add_arguments(parser):
    parser.add_argument("--batch", type=int, nargs="+", default=[256], help="B")
    parser.add_argument("--examples", type=float, nargs="+", default=[1e4, 1e8], help="N")
    parser.add_argument("--width", type=int, default=128, help="D of the projections")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", help="a file to write the figures to")


def run(options):
    found = []
    for batch in options.batch:
        for examples in map(int, options.examples):
            steps = {
                name: step(build_objective(name, examples), batch, examples, options.width)
                for name in objective_names()
            }
            timings = interleaved(steps, options.rounds)
            found += [
                {"objective": name, "batch": batch, "examples": examples, **timing._asdict()}
                for name, timing in timings.items()
            ]
    print(table(found))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(found, file, indent=1)


def step(objective, batch, examples, width):
    """A function that takes one step: loss, gradient by the projections, tables."""
    generator = np.random.default_rng(0)
    a, b = (tf.constant(x) for x in generator.normal(size=(2, batch, width)).astype(np.float32))
    index = tf.constant(generator.integers(0, examples, batch), tf.int32)
    objective.build(None)

    @tf.function
    def compiled():
        with tf.GradientTape() as tape:
            tape.watch([a, b])
            loss = objective(a, b, index)
        return tape.gradient(loss, [a, b])

    return lambda: compiled()[0].numpy()


def table(found):
    """Milliseconds, quartiles and the ratio to NT-Xent at the same sizes, as Markdown."""
    reference = {
        (row["batch"], row["examples"]): row["median"]
        for row in found
        if row["objective"] == "simclr"
    }
    lines = ["| objective | B | N | ms | quartiles | to NT-Xent |", "|---|---|---|---|---|---|"]
    for row in found:
        ratio = row["median"] / reference[row["batch"], row["examples"]]
        low, median, high = (1e3 * row[key] for key in ("low", "median", "high"))
        lines.append(
            f"| {row['objective']} | {row['batch']} | {row['examples']:.0e} | {median:.2f} "
            f"| {low:.2f} to {high:.2f} | {ratio:.2f} |"
        )
    return "\n".join(lines)
