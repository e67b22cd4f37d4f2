"""The tool that compares the forms of an export, on a small encoder of digits."""

import json
import subprocess
import sys

import pytest
from support.paths import ROOT

import sogclr_tf

TOOL = ROOT / "tools" / "compare_exports.py"


@pytest.mark.slow(reason="programs run in processes of their own")
def test_every_form_is_measured(tmp_path):
    encoder = sogclr_tf.small_resnet(widths=(4, 8), input_shape=(8, 8, 3))
    sogclr_tf.export_keras(encoder, tmp_path / "encoder.keras")
    process = subprocess.run(
        [sys.executable, str(TOOL), "encoder.keras", "--k=20", "--json=found"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    original, *forms = json.loads((tmp_path / "found").read_text())
    assert [row["form"].partition(",")[0] for row in forms] == [
        *["SavedModel"] * 3,
        ".keras",
        *["TFLite"] * 2,
    ]
    for row in forms:
        assert row["bytes"] > 1000
        assert abs(row["knn"] - original["knn"]) < 0.03
        assert row["off"] < (0.1 if "8-bit" in row["form"] or "16" in row["form"] else 1e-5)
    assert "| TFLite, 8-bit kernels |" in process.stdout
