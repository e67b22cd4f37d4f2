"""Arrays by their names, from the files that weights are shared in. No file is executed."""

import argparse
import collections.abc
import contextlib
import pathlib
import pickle
import re
import warnings
import zipfile
from typing import Any, NamedTuple

import keras
import numpy as np

from sogclr_tf.networks import simclr_checkpoint


class Stored(NamedTuple):
    """What a file, a model or a dictionary holds.

    Attributes:
        origin: str for messages: the path, or what was given instead of one.
        layout: whose names these are, "PyTorch", "Keras" or "SimCLR".
        arrays: {name: numpy array}, such as `layer1.0.conv1.weight` of PyTorch,
            `conv1_conv/kernel` of Keras or `block_group1/block1/conv1/kernel` of SimCLR.
        beside: list of str, what else the file holds, such as `optimizer`.
    """

    origin: str
    layout: str
    arrays: dict
    beside: list


def read(source: Any) -> Stored:
    """The arrays of `source`, as `Stored`.

    Args:
        source: path, str or pathlib.Path, of a .pth, .pt or .tar file of PyTorch, of a
            .safetensors file with PyTorch's names, of a .keras or .h5 file of Keras, or of the
            folder of a SavedModel of google-research/simclr (tf2); or a Keras model; or a state
            dict, {name: array or tensor}, alone or under "state_dict", "model", "teacher" or
            "student"; or what has a method `state_dict`, as a PyTorch module; or what this
            function returned.

    Raises:
        ValueError: it is none of these, cannot be read, or holds more than data.
        ImportError: PyTorch or safetensors is needed and not installed.
    """
    if isinstance(source, Stored):
        return source
    if isinstance(source, keras.Model):
        arrays = _unique(("/".join(w.path.split("/")[-2:]), np.asarray(w)) for w in source.weights)
        return Stored(f"the model {source.name}", "Keras", arrays, [])
    if hasattr(source, "state_dict"):
        source = source.state_dict()
    if isinstance(source, collections.abc.Mapping):
        return _of_pytorch("the state dict", source)
    path = pathlib.Path(source).expanduser()
    if path.is_dir():
        return _read_saved_model(path)
    if path.suffix.lower() not in _READERS:
        raise ValueError(
            f"{path} has another ending than {', '.join(_READERS)}: give a file of one of these, "
            "or the folder of a SavedModel of google-research/simclr (tf2)"
        )
    if not path.is_file():
        raise ValueError(f"there is no file {path}: give the path of one")
    return _READERS[path.suffix.lower()](path)


def _read_pickle(path):
    try:
        import torch
    except ImportError:
        raise ImportError(
            f"{path} is read by PyTorch, which is missing: pip install torch, or convert the file "
            "to .safetensors where it is installed"
        ) from None
    # torch warns of pickles that it then refuses.
    # The options of a run that lie beside its weights are data too.
    options = torch.serialization.safe_globals([argparse.Namespace])
    with _one_line(path), warnings.catch_warnings(action="ignore"), options:
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, collections.abc.Mapping):
        raise ValueError(
            f"{path} holds a {type(content).__name__}: expected a state dict, or a dictionary "
            "with one under 'state_dict'"
        )
    return _of_pytorch(str(path), content)


def _read_safetensors(path):
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            f"{path} is read by safetensors, which is missing: pip install safetensors"
        ) from None
    with _one_line(path):
        content = safetensors.numpy.load_file(path)
    return _of_pytorch(str(path), content)


def _of_pytorch(origin, content):
    beside = []
    # DINO keeps two networks, and evaluates the teacher.
    for key in ("state_dict", "model", "teacher", "student"):
        if isinstance(content.get(key), collections.abc.Mapping):
            beside = [str(name) for name in content if name != key]
            content = content[key]
            break
    arrays = {str(name): _as_array(origin, name, value) for name, value in content.items()}
    return Stored(origin, "PyTorch", arrays, beside)


def _as_array(origin, name, value):
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            # NumPy has no bfloat16 of its own.
            value = value.float() if value.is_floating_point() else value
            return value.numpy()
        array = np.asarray(value)
        return array if array.dtype.kind in "biu" else array.astype("float32")
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(
            f"{origin} holds {name}, a {type(value).__name__}: expected dense arrays of numbers "
            "alone, so take it out"
        ) from None


def _read_keras(path):
    # Only the weights: the architecture beside them can name classes to import.
    with (
        _one_line(path),
        zipfile.ZipFile(path) as archive,
        archive.open("model.weights.h5") as file,
    ):
        datasets = _datasets(file)
    return _of_keras(path, datasets)


def _read_h5(path):
    with _one_line(path):
        datasets = _datasets(path)
    return _of_keras(path, datasets)


def _datasets(file):
    """[(path within an .h5 file, attribute "name" of its group or None, array)]."""
    # Comes with Keras; takes a moment to import.
    import h5py

    found = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found.append((name, item.parent.attrs.get("name"), _h5_array(item)))

    with h5py.File(file) as root:
        # Follows no links, neither within the file nor to others.
        root.visititems(visit)
    return found


def _of_keras(path, datasets):
    beside = {name.partition("/")[0] for name, *_ in datasets if name.startswith("optimizer")}
    arrays = _unique(
        (_keras_name(path, name, layer), array)
        for name, layer, array in datasets
        if not name.startswith("optimizer")
    )
    return Stored(str(path), "Keras", arrays, sorted(beside))


def _keras_name(path, name, layer):
    """`layer/parameter` of a dataset of either kind of .h5 file.

    Those of Keras 2 end in that already, such as `conv1_conv/conv1_conv/kernel:0`. Those of Keras 3
    number the layers of a class and the parameters of a layer, `layers/conv2d_3/vars/0`, and keep
    the layer's name as an attribute.
    """
    parts = name.split("/")
    if parts[-2:-1] != ["vars"]:
        return "/".join(parts[-2:]).partition(":")[0]
    if layer is None:
        raise ValueError(
            f"{path} keeps no names of layers: load the model with Keras 3.10 or newer and save it "
            "again"
        )
    normalizes = "batch_normalization" in "/".join(parts[-3:])
    known = (
        ("gamma", "beta", "moving_mean", "moving_variance") if normalizes else ("kernel", "bias")
    )
    numbered = {str(number): parameter for number, parameter in enumerate(known)}
    return f"{layer}/{numbered.get(parts[-1], parts[-1])}"


def _read_saved_model(path):
    simclr_checkpoint.check_folder(path)
    with _one_line(path):
        arrays, names = simclr_checkpoint.read(path)
    return Stored(str(path), "SimCLR", simclr_checkpoint.by_layer(str(path), arrays, names), [])


def _h5_array(dataset):
    is_bfloat16 = dataset.attrs.get("dtype") == "bfloat16"
    # A dtype that NumPy knows once TensorFlow is imported.
    return np.asarray(dataset, "bfloat16" if is_bfloat16 else None)


def _unique(pairs):
    arrays = {}
    for name, array in pairs:
        if name in arrays:
            raise ValueError(
                f"two arrays are called {name}: give the network without what was built around it"
            )
        arrays[name] = array
    return arrays


@contextlib.contextmanager
def _one_line(path):
    """Turns whatever a broken file leads to into one ValueError."""
    try:
        yield
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors ({_needed(error)}), which could run code and is "
            "refused: where you trust it, save its state dict alone or as .safetensors"
        ) from None
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path} cannot be read ({reason}): it is cut off, or of another kind than its ending "
            "says"
        ) from error


def _needed(error):
    """What a pickle asked for, from the page of advice that torch.load gives."""
    patterns = (r"GLOBAL (\S+)", r"(Unsupported [^\n]+)")
    found = filter(None, (re.search(pattern, str(error)) for pattern in patterns))
    return next((match[1] for match in found), "no tensors at all")


_READERS = {
    ".pth": _read_pickle,
    ".pt": _read_pickle,
    ".tar": _read_pickle,
    ".safetensors": _read_safetensors,
    ".keras": _read_keras,
    ".h5": _read_h5,
}
