"""Work in processes of their own: what a process can do once, or what it costs as a whole.

python -m benchmarks.children MODULE FUNCTION '{"argument": value}'
"""

import importlib
import json
import os
import pathlib
import subprocess
import sys

TOOLS = pathlib.Path(__file__).parents[1]


def call(module, function, **arguments):
    """What `benchmarks.MODULE.FUNCTION(**arguments)` returns in a new process; all of it JSON.

    Raises:
        RuntimeError: it failed; with what it wrote.
    """
    paths = [str(TOOLS), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.children", module, function, json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    if process.returncode:
        raise RuntimeError(f"{module}.{function} failed:\n{process.stderr}")
    return json.loads(process.stdout.splitlines()[-1])


def main():
    module, function, arguments = sys.argv[1:]
    work = getattr(importlib.import_module(f"benchmarks.{module}"), function)
    print("\n" + json.dumps(work(**json.loads(arguments))))


if __name__ == "__main__":
    main()
