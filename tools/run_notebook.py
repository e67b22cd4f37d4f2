"""Runs docs/quickstart.ipynb and keeps its outputs.

    python tools/run_notebook.py [--output=docs/quickstart.ipynb]

Runs in a temporary folder, so that what the notebook exports is not left beside it. No times of the
cells and no version of Python are kept, so that the file changes only where an output does. Prints
how long it took.
"""

import argparse
import pathlib
import tempfile
import time

import nbformat
from nbclient import NotebookClient

NOTEBOOK = pathlib.Path(__file__).parents[1] / "docs" / "quickstart.ipynb"


def run(notebook):
    """Executes the cells, whose outputs are replaced; an error in one is raised."""
    kept = notebook.metadata.copy()
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, record_timing=False, resources=resources).execute()
    notebook.metadata = kept
    # TensorFlow's C++ greets on stderr when it is imported, at any log level. Further cells keep
    # theirs, which would be warnings.
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.outputs = [output for output in first.outputs if output.get("name") != "stderr"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=NOTEBOOK)
    output = parser.parse_args().output
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    start = time.monotonic()
    run(notebook)
    nbformat.write(notebook, output)
    print(f"{output.name}: {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
