"""What the README shows is run as it is printed."""

import pathlib
import re
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_snippet_for_own_images(tmp_path):
    snippet = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    images = np.random.default_rng(0).integers(0, 256, (130, 32, 32, 3), np.uint8)
    np.save(tmp_path / "my_images.npy", images)
    quick = snippet.replace("epochs=100", "epochs=1")
    assert quick != snippet
    process = subprocess.run(
        [sys.executable, "-c", quick], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "my_encoder" / "1" / "saved_model.pb").exists()


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_every_config_is_in_the_recipe_table():
    for path in (ROOT / "configs").glob("*.py"):
        assert f"configs/{path.name}" in README, path.name


def test_the_test_command_is_what_ci_runs():
    command = re.search(r"^(python3 -m venv .*pytest.*)$", README, re.MULTILINE).group(1)
    assert command in (ROOT / ".ci" / "run").read_text()
