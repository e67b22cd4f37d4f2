"""The wheel: built, installed into an environment of its own, and used from there."""

import ast
import os
import shutil
import site
import subprocess
import sys
import venv

import pytest
from support.paths import ROOT


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment that has the wheel, and this one's packages for the rest."""
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, because setuptools builds inside the tree and takes in what lies there from before.
    for name in ("sogclr_tf", "configs"):
        shutil.copytree(ROOT / name, folder / "source" / name)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder]
    subprocess.run([*build, folder / "source"], check=True)
    (wheel,) = folder.glob("sogclr_tf-*.whl")
    venv.create(folder / "venv", with_pip=True)
    own = folder / "venv" / "bin" / "python"
    subprocess.run([own, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # Behind its own, and without the hooks by which an editable checkout would come in.
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    return own


def run(python, *arguments, cwd):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [python, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


def public_names():
    stub = ast.parse((ROOT / "sogclr_tf" / "__init__.pyi").read_text())
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom))
    return [name.name for node in imports for name in node.names]


@pytest.mark.slow(reason="a wheel is built and installed")
def test_every_public_name_can_be_imported(python, tmp_path):
    names = public_names()
    assert len(names) > 50
    program = (
        "import sogclr_tf\n"
        f"names = {names}\n"
        "assert sorted(sogclr_tf.__all__) == sorted(names)\n"
        "for name in names: assert callable(getattr(sogclr_tf, name)), name\n"
        "print(sogclr_tf.__file__)"
    )
    process = run(python, "-c", program, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert "venv" in process.stdout


def test_the_commands_answer(python, tmp_path):
    for arguments in (["sogclr_tf.run", "--help"], ["sogclr_tf.compare", "--help"]):
        process = run(python, "-m", *arguments, cwd=tmp_path)
        assert "--help" in process.stdout, process.stderr
    process = run(python, "-m", "sogclr_tf.run", "--print_config", cwd=tmp_path)
    assert "small_resnet" in process.stdout, process.stderr


def test_recipes_and_marks_of_types_come_along(python, tmp_path):
    program = "import sogclr_tf, os; print(*os.listdir(os.path.dirname(sogclr_tf.__file__)))"
    files = run(python, "-c", program, cwd=tmp_path).stdout.split()
    assert {"py.typed", "__init__.pyi", "configs"} <= set(files)
