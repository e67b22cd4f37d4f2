"""The release: sdist and wheel, what they hold, and the wheel in an environment of its own."""

import ast
import email
import os
import shutil
import site
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest
from support.paths import ROOT

import sogclr_tf

NAME = f"sogclr_tf-{sogclr_tf.__version__}"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(sdist, wheel) as `python -m build` gives them: the wheel is made of the sdist."""
    folder = tmp_path_factory.mktemp("release")
    # A copy, because setuptools builds inside the tree and takes in what lies there from before.
    kept_out = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs")
    shutil.copytree(ROOT, folder / "source", ignore=kept_out)
    build = [sys.executable, "-m", "build", "--no-isolation", "-o", folder / "dist"]
    process = subprocess.run([*build, folder / "source"], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return folder / "dist" / f"{NAME}.tar.gz", folder / "dist" / f"{NAME}-py3-none-any.whl"


@pytest.fixture(scope="module")
def python(built, tmp_path_factory):
    """The Python of an environment that has the wheel, and this one's packages for the rest."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    own = folder / "bin" / "python"
    subprocess.run([own, "-m", "pip", "install", "-q", "--no-deps", built[1]], check=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    # Behind its own, and without the hooks by which an editable checkout would come in.
    (packages / "others.pth").write_text("\n".join(site.getsitepackages()))
    return own


def run(python, *arguments, cwd):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [python, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


def files_of(folder, prefix=""):
    """The code of a folder of the checkout, by paths under `prefix`."""
    paths = (path for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".pyi"))
    return {f"{prefix}{path.relative_to(ROOT)}" for path in paths}


def public_names():
    stub = ast.parse((ROOT / "sogclr_tf" / "__init__.pyi").read_text())
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom))
    return [name.name for node in imports for name in node.names]


def test_the_sdist_holds_the_package_and_nothing_else(built):
    with tarfile.open(built[0]) as archive:
        names = {member.name.removeprefix(f"{NAME}/") for member in archive if member.isfile()}
    # What setuptools notes down.
    made = {name for name in names if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
    beside = {"setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md"}
    package = {*files_of("sogclr_tf"), *files_of("configs"), "sogclr_tf/py.typed"}
    assert names - made == package | beside


def test_the_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as archive:
        names = set(archive.namelist())
        metadata = email.message_from_bytes(archive.read(f"{NAME}.dist-info/METADATA"))
    notes = {"METADATA", "RECORD", "WHEEL", "top_level.txt", "licenses/LICENSE"}
    package = {*files_of("sogclr_tf"), *files_of("configs", "sogclr_tf/"), "sogclr_tf/py.typed"}
    assert names == package | {f"{NAME}.dist-info/{name}" for name in notes}
    assert metadata["License-Expression"] == "Apache-2.0"
    for field in (
        "Summary",
        "Keywords",
        "Requires-Python",
        "Classifier",
        "Description-Content-Type",
    ):
        assert metadata[field], field


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
    assert str(python.parents[1]) in process.stdout


def test_the_commands_answer(python, tmp_path):
    for arguments in (["sogclr_tf.run", "--help"], ["sogclr_tf.compare", "--help"]):
        process = run(python, "-m", *arguments, cwd=tmp_path)
        assert "--help" in process.stdout, process.stderr
    process = run(python, "-m", "sogclr_tf.run", "--print_config", "--config=cifar10", cwd=tmp_path)
    assert "resnet50" in process.stdout, process.stderr
    process = run(python, "-m", "sogclr_tf.run", "--config=cifar11", cwd=tmp_path)
    for path in (ROOT / "configs").glob("*.py"):
        assert f"configs/{path.name}" in process.stderr


@pytest.mark.slow(reason="a run of the command")
def test_a_run_in_an_empty_folder_ends_with_the_closing_table(python, tmp_path):
    small = ["--config.epochs=3", "--config.encoder.widths=(8,16)"]
    process = run(python, "-m", "sogclr_tf.run", "--config=configs/digits.py", *small, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    opening, *_, table, files = process.stdout.split("\n\n")
    assert opening.startswith("data       digits[train]: 1,198 images")
    assert "linear probe, top-1" in table
    assert files.splitlines()[0].split() == ["report", "runs/digits/report.html"]
