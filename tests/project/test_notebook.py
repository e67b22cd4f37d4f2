"""The notebook is short, is kept with its outputs, and runs as it stands."""

import re
import subprocess
import sys

import nbformat
import pytest
from support.paths import ROOT

PATH = ROOT / "docs" / "quickstart.ipynb"


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code(notebook) for output in cell.outputs]


def printed(notebook):
    return "".join(output.text for output in outputs(notebook) if output.get("name") == "stdout")


def has_picture(cell):
    return any("image/png" in output.get("data", {}) for output in cell.outputs)


def check(path):
    assert path.stat().st_size <= 500 * 2**10
    notebook = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in code(notebook)] == [
        number for number, _ in enumerate(code(notebook), start=1)
    ]
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    assert not any(cell.metadata for cell in notebook.cells)
    # Neither warnings, which are stderr, nor errors.
    assert {output.get("name", output.output_type) for output in outputs(notebook)} == {
        *("stdout", "display_data")
    }
    drawing = [cell for cell in code(notebook) if re.search(r"(?m)^(plt\.)?show\(", cell.source)]
    assert len(drawing) == 6
    assert all(map(has_picture, drawing))
    check_results(printed(notebook))


def check_results(text):
    assert "as in Python: True" in text
    assert "of a PNG file: True" in text
    for line in ("20 nearest neighbors", "linear probe"):
        (row,) = (row for row in text.splitlines() if row.startswith(line))
        untrained, trained = (float(word.rstrip("%")) for word in row.split()[-2:])
        assert trained > untrained + 1


def test_it_is_kept_with_its_outputs():
    check(PATH)


@pytest.mark.slow(reason="an encoder is trained, a minute or two")
def test_it_runs(tmp_path):
    tool, output = ROOT / "tools" / "run_notebook.py", tmp_path / PATH.name
    process = subprocess.run(
        [sys.executable, tool, f"--output={output}"], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    check(output)
