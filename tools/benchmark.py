"""Measures what the package claims about speed.

    python tools/benchmark.py loss [--batch 256] [--examples 1e4 1e8]
    python tools/benchmark.py input [--size 224] [--seconds 3]
    python tools/benchmark.py monitors [--batch 64]

Alternatives are timed in turn, round by round, in one process: on a machine that other work shares,
the ratios hold where the milliseconds do not.
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks import input as input_stream
from benchmarks import loss, monitors


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    for name, benchmark in (("loss", loss), ("input", input_stream), ("monitors", monitors)):
        command = commands.add_parser(name, help=benchmark.__doc__)
        benchmark.add_arguments(command)
        command.set_defaults(run=benchmark.run)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
