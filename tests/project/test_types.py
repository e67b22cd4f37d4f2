"""Types are part of what the package promises: it ships a py.typed."""

import ast
import subprocess
import sys

import pytest
from support.paths import ROOT


@pytest.mark.slow(reason="mypy reads the whole package")
def test_mypy_finds_no_fault():
    mypy = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True)
    assert mypy.returncode == 0, mypy.stdout + mypy.stderr


def test_all_that_is_public_has_types():
    untyped = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}: {', '.join(missing)}"
        for path in sorted((ROOT / "sogclr_tf").rglob("*.py"))
        for function, is_method in public_functions(ast.parse(path.read_text()))
        if (missing := missing_types(function, is_method))
    ]
    assert not untyped, "\n".join(untyped)


def public_functions(node, is_class=False):
    """Yields (function, whether it is a method) of all that is public, at any depth of classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef) and is_public(child.name):
            yield from public_functions(child, is_class=True)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if is_public(child.name):
                yield child, is_class
        elif isinstance(child, ast.If | ast.Try | ast.With):
            yield from public_functions(child, is_class)


def is_public(name):
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def missing_types(function, is_method):
    """The names of a function's parameters without a type, and "return" if that has none."""
    given = function.args
    parameters = [*given.posonlyargs, *given.args]
    if is_method and "staticmethod" not in map(ast.unparse, function.decorator_list):
        parameters = parameters[1:]
    parameters += [*given.kwonlyargs, *filter(None, [given.vararg, given.kwarg])]
    missing = [parameter.arg for parameter in parameters if parameter.annotation is None]
    return missing if function.returns is not None else [*missing, "return"]
