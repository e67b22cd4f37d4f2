"""Every public name has a reference: what it takes, gives, raises and cites, and an example."""

import doctest
import inspect
import re

import keras
import numpy as np
import pytest

import sogclr_tf

NAMES = sorted(sogclr_tf.__all__)
# Kinds of names that the documentation of every one of them has a publication for.
PUBLISHED = ("losses.", "training.lars", "training.lamb", "networks.resnet", "networks.vision")
ARRAYS = re.compile(r"ndarray|Tensor|Array")
SHAPE = re.compile(r"\[[A-Za-z0-9(., *]+\]")


def docstring(name):
    return inspect.getdoc(getattr(sogclr_tf, name))


def section(name, title):
    """The text of a section of the docstring, or None."""
    found = re.search(rf"(?ms)^{title}:\n(.*?)(?=^\S|\Z)", docstring(name))
    return found and found[1]


def parameters(name):
    public = getattr(sogclr_tf, name)
    # Of a class that is only subclassed, or made by others, nothing is called.
    signature = inspect.signature(public.__init__ if inspect.isclass(public) else public)
    return [
        parameter
        for parameter in signature.parameters.values()
        if parameter.name != "self"
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_annotated_and_described(name):
    described = section(name, "Args") or section(name, "Attributes") or ""
    for parameter in parameters(name):
        assert parameter.annotation is not parameter.empty, parameter
        entry = rf"(?m)^    (\w+, )*{parameter.name}(, \w+)*:"
        assert re.search(entry, described), f"{name} does not describe {parameter.name}"


# What these take is not looked at.
NEVER_RAISE = ("ExampleNames", "synchronize_batch_norm")
RAISE = [name for name in NAMES if parameters(name) and name not in NEVER_RAISE]


@pytest.mark.parametrize("name", RAISE)
def test_errors_are_described(name):
    assert section(name, "Raises")


def returned(name):
    public = getattr(sogclr_tf, name)
    return None if inspect.isclass(public) else inspect.signature(public).return_annotation


@pytest.mark.parametrize("name", [name for name in NAMES if returned(name) is not None])
def test_results_are_described(name):
    assert returned(name) is not inspect.Signature.empty
    assert section(name, "Returns")


def exchanges_arrays(name):
    annotations = [parameter.annotation for parameter in parameters(name)] + [returned(name)]
    return any(ARRAYS.search(str(annotation)) for annotation in annotations)


@pytest.mark.parametrize("name", [name for name in NAMES if exchanges_arrays(name)])
def test_arrays_have_shapes(name):
    assert SHAPE.search(docstring(name))


def module(name):
    return getattr(sogclr_tf, name).__module__.removeprefix("sogclr_tf.")


# Of these each loss has its own.
BESIDE = ("ContrastiveLoss", "build_loss", "register_loss")
METHODS = [name for name in NAMES if module(name).startswith(PUBLISHED) and name not in BESIDE]


@pytest.mark.parametrize("name", METHODS)
def test_methods_cite_their_publication(name):
    assert re.search(r"arXiv \d{4}\.\d{5}", docstring(name))


def examples(name):
    found = doctest.DocTestFinder(recurse=False).find(getattr(sogclr_tf, name), name, globs={})
    return [example for example in found if example.examples]


@pytest.mark.parametrize("name", NAMES)
def test_has_an_example(name):
    assert section(name, "Examples")
    assert any(part.want for example in examples(name) for part in example.examples)


@pytest.mark.slow(reason="examples train, evaluate and export")
@pytest.mark.parametrize("name", NAMES)
def test_example_runs_as_printed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    said = []
    for example in examples(name):
        # Of other versions of NumPy the same numbers are printed another way.
        with np.printoptions(legacy="1.25"):
            runner.run(example, out=said.append)
    assert not runner.failures, "".join(said)
