"""Measures what the package claims about speed and size.

    python tools/benchmark.py loss [--batch 256] [--examples 1e4 1e8]
    python tools/benchmark.py step [--encoder resnet18] [--batch 64]
    python tools/benchmark.py throughput [--encoder resnet18] [--batch 64]
    python tools/benchmark.py input [--size 224] [--seconds 3]
    python tools/benchmark.py files [--seconds 3]
    python tools/benchmark.py photographs [--megapixels 12]
    python tools/benchmark.py monitors [--batch 64]
    python tools/benchmark.py normalizer [--examples 5e4]
    python tools/benchmark.py scaling [--devices 1 2]
    python tools/benchmark.py memory [--parts ways --encoder resnet50]
    python tools/benchmark.py startup [--profile]
    python tools/benchmark.py serving [--encoder resnet50] [--size 224]
    python tools/benchmark.py peers [--only loss step input] [--simclr DIR]

Alternatives are timed in turn, round by round: on a machine that other work shares, the ratios hold
where the milliseconds do not. --json keeps the figures; --page writes the tables into
docs/performance.md, where that page has a place for them.
"""

import argparse
import importlib
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from benchmarks import report

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "performance.md"
COMMANDS = (
    "loss",
    "step",
    "throughput",
    "input",
    "files",
    "photographs",
    "monitors",
    "normalizer",
    "scaling",
    "memory",
    "startup",
    "serving",
    "peers",
)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    arguments = sys.argv[1:] if arguments is None else arguments
    command = parser.parse_args(arguments[:1]).command
    # Some must measure what an import costs, so none is imported but the one.
    benchmark = importlib.import_module(f"benchmarks.{command}")
    options = _options(command, benchmark, arguments[1:])
    machine = report.machine()
    print(machine, end="\n\n", flush=True)
    found, tables = benchmark.run(options)
    print(tables)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "found": found}, indent=1))
    if options.page:
        report.write_page(options.page, options.place or command, f"{machine}\n\n{tables}")


def _options(command, benchmark, arguments):
    parser = argparse.ArgumentParser(
        prog=f"benchmark.py {command}", description=benchmark.__doc__.partition("\n")[0]
    )
    benchmark.add_arguments(parser)
    parser.add_argument("--json", type=pathlib.Path, help="a file to write the figures to")
    parser.add_argument(
        "--page",
        type=pathlib.Path,
        nargs="?",
        const=PAGE,
        help=f"write the tables into {PAGE.name}",
    )
    parser.add_argument("--place", help="where on the page; by default the command's name")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
