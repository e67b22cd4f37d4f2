"""The notebook is short, is kept with its outputs, and runs as it stands."""

import nbformat
import pytest
from nbclient import NotebookClient
from support.paths import ROOT

PATH = ROOT / "docs" / "quickstart.ipynb"


def outputs(notebook):
    return [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]


def printed(notebook):
    return "".join(output.text for output in outputs(notebook) if output.get("name") == "stdout")


def check(notebook):
    pictures = [output for output in outputs(notebook) if "image/png" in output.get("data", {})]
    assert len(pictures) == 6
    assert "as in Python: True" in printed(notebook)
    assert "of a PNG file: True" in printed(notebook)
    for line in ("20 nearest neighbors", "linear probe"):
        (row,) = (row for row in printed(notebook).splitlines() if row.startswith(line))
        untrained, trained = (float(word.rstrip("%")) for word in row.split()[-2:])
        assert trained > untrained + 1


def test_it_is_kept_with_its_outputs():
    assert PATH.stat().st_size <= 500 * 2**10
    notebook = nbformat.read(PATH, as_version=4)
    check(notebook)
    assert {output.get("name", "stdout") for output in outputs(notebook)} == {"stdout"}


@pytest.mark.slow(reason="an encoder is trained, a minute or two")
def test_it_runs(tmp_path):
    notebook = nbformat.read(PATH, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    check(notebook)
    assert (tmp_path / "digits_encoder" / "1" / "saved_model.pb").exists()
