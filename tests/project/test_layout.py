"""The layout of the code: which way imports run, how long things are, where tests lie."""

import ast
import subprocess
import sys

import pytest
from support.paths import ROOT

PACKAGE = ROOT / "sogclr_tf"
# What tests hold of the repository as a whole, of several modules together, or of tools.
NO_MIRROR = {"project", "tools", "support", "golden"}


def test_imports_run_one_way():
    process = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "1 kept, 0 broken" in process.stdout


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_nothing_is_imported_from_the_lazy_front(path):
    """`import sogclr_tf` within it would hide from readers what depends on what."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert "sogclr_tf" not in [name.name for name in node.names]
        if isinstance(node, ast.ImportFrom) and node.module == "sogclr_tf":
            for name in node.names:
                there = PACKAGE / name.name
                assert there.is_dir() or there.with_suffix(".py").exists(), name.name


def test_no_file_and_no_function_is_too_long():
    process = subprocess.run(
        [sys.executable, ROOT / "tools" / "check_length.py"], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout


def test_tests_mirror_the_package():
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder = path.parent.relative_to(ROOT / "tests")
        if folder.parts[:1] not in [(name,) for name in NO_MIRROR]:
            assert (PACKAGE / folder).is_dir(), f"{path} has no package that it mirrors"


def test_every_package_says_in_a_sentence_what_it_is():
    for path in PACKAGE.rglob("__init__.py"):
        doc = ast.get_docstring(ast.parse(path.read_text()))
        assert doc, path
        if path.parent != PACKAGE:
            assert doc.endswith(".")
            assert "\n" not in doc


def test_every_slow_test_says_why():
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "slow":
                line = path.read_text().splitlines()[node.lineno - 1]
                assert 'mark.slow(reason="' in line, f"{path}:{node.lineno}"
