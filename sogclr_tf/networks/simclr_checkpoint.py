"""The arrays of google-research/simclr's SavedModels (tf2), by names that say where they stand.

Their checkpoint knows variables by their places in lists: the trainable ones in that of the model,
the moving statistics in that of the encoder, each in the order in which Keras finds them. Most keep
their full names beside, which number the layers by their creation; those are read where they are
there, since the lists of an encoder that was frozen are others. Nothing of a SavedModel is run: its
graph is not even read.
"""

import collections
import pathlib
import re

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
_TRAINABLE = "trainable_variables_list"
_ENCODER = "model/resnet_model/variables"
_FULL_NAME = re.compile(
    r"(?:.*/)?resnet/(?:.*/)?(?:conv2d_fixed_padding|batch_norm_relu)(?:_(\d+))?/\w+/"
    r"(kernel|gamma|beta|moving_mean|moving_variance)"
)
# The sizes of the kernels of a stage, and the layers that have them: in its first block, which has
# a shortcut, and in each of the others. Keras finds the shortcut of a basic block last, where it
# was created first.
_STAGES = {
    r"1131(?:131)*": (("shortcut", "conv1", "conv2", "conv3"), ("conv1", "conv2", "conv3")),
    r"133(?:33)*": (("shortcut", "conv1", "conv2"), ("conv1", "conv2")),
    r"331(?:33(?!1))*": (("conv1", "conv2", "shortcut"), ("conv1", "conv2")),
}
_TAKEN = "of google-research/simclr (tf2)"
_OURS = (
    "an export or a run of this package needs no import: load_encoder reads it, and "
    "--config.encoder.weights starts from it"
)


def check_folder(folder: pathlib.Path) -> None:
    """Raises ValueError unless the folder is one of a SavedModel."""
    if not (folder / "variables" / "variables.index").is_file():
        raise ValueError(
            f"{folder} holds no variables/variables.index: expected a file, or the folder of a "
            f"SavedModel {_TAKEN}; {_OURS}"
        )


def read(folder: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """({place: array}, {place: full name}) of what a SavedModel's variables are.

    Args:
        folder: with `variables/variables.index` inside. An array's place is its key, such as
            `trainable_variables_list/0`. Not every one has a full name.
    """
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    # Shorter ones first, so that place 9 comes before place 10.
    keys = sorted(reader.get_variable_to_shape_map().keys() - {_GRAPH}, key=lambda k: (len(k), k))
    arrays = {key.removesuffix(_VALUE): reader.get_tensor(key) for key in keys}
    names = {}
    if reader.has_tensor(_GRAPH):
        graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
            reader.get_tensor(_GRAPH)
        )
        for stored in (stored for node in graph.nodes for stored in node.attributes):
            place = stored.checkpoint_key.removesuffix(_VALUE)
            if stored.full_name and place in arrays:
                names[place] = stored.full_name.split(":")[0]
    return arrays, names


def by_layer(
    origin: str, arrays: dict[str, np.ndarray], names: dict[str, str]
) -> dict[str, np.ndarray]:
    """{name: array}: `stem/kernel`, `block_group1/block1/conv1/gamma`, and others as they were.

    Args:
        origin: for messages.
        arrays, names: what `read` gives.

    Raises:
        ValueError: they are not of an encoder of SimCLR, or of one that is no plain ResNet.
    """
    _check_kind(origin, arrays, names)
    layers = _by_name(names) or _by_place(origin, arrays)
    lonely = next((layer for layer in layers if "kernel" not in layer), None)
    if lonely:
        raise ValueError(
            f"{origin} lacks the convolution before {names[min(lonely.values())]}: give all of a "
            "SavedModel"
        )
    kernels = [arrays[layer["kernel"]] for layer in layers]
    _check_blocks(origin, kernels)
    left, found = dict(arrays), {}
    for name, layer in zip(_layer_names(origin, kernels), layers, strict=True):
        for parameter, place in layer.items():
            if place in left:
                found[f"{name}/{parameter}"] = left.pop(place)
    # Names that several variables have, or that say nothing, would hide what they are.
    count = collections.Counter(names.values())
    told = {place: name for place, name in names.items() if "/" in name and count[name] == 1}
    rest = {told.get(place, place): array for place, array in left.items()}
    beside = next((name for name, array in rest.items() if array.ndim == 4), None)
    if beside:
        raise ValueError(
            f"{origin} has a convolution beside its ResNet ({beside}): only plain ResNets can be "
            "imported"
        )
    return found | rest


def _check_kind(origin, arrays, names):
    old = next((place for place in arrays if place.startswith(("base_model/", "head_"))), None)
    if old:
        raise ValueError(
            f"{origin} is of SimCLR's code for TensorFlow 1 (it has {old}): give the SavedModel "
            f"{_TAKEN}, which its authors publish of the same networks"
        )
    if not any(place.startswith((f"{_TRAINABLE}/", f"{_ENCODER}/")) for place in arrays):
        raise ValueError(
            f"{origin} is no SavedModel {_TAKEN} (it has {min(arrays, default='nothing')}): give "
            f"the folder of one; {_OURS}"
        )
    for part, what in (("sk__conv2d", "selective kernels"), ("se__layer", "squeeze-excitation")):
        name = next((name for name in names.values() if f"/{part}" in name), None)
        if name:
            raise ValueError(
                f"{origin} has {what} (it has {name}): only ResNets without them can be imported"
            )


def _by_name(names):
    """[{parameter: place}] of the layers in the order of creation; none by names of other kinds."""
    layers: dict[int, dict[str, str]] = {}
    for place, name in names.items():
        match = _FULL_NAME.fullmatch(name)
        if match:
            # A convolution and the normalization behind it have the same number.
            layer = layers.setdefault(int(match[1] or 0), {})
            if match[2] in layer:
                return []
            layer[match[2]] = place
    return [layers[number] for number in sorted(layers)]


def _by_place(origin, arrays):
    """The same in the order of Keras, which is not that of creation."""
    numbers = [int(place.split("/")[1]) for place in arrays if place.startswith(f"{_TRAINABLE}/")]
    missing = sorted(set(range(max(numbers, default=0))) - set(numbers))
    if missing:
        raise ValueError(f"{origin} lacks {_TRAINABLE}/{missing[0]}: give all of a SavedModel")
    layers: list[dict[str, str]] = []
    count = len(numbers)
    for number in sorted(numbers):
        place = f"{_TRAINABLE}/{number}"
        if arrays[place].ndim == 4:
            layers.append({"kernel": place})
        elif arrays[place].ndim != 1:
            # The projection head begins, or the classifier.
            count = number
            break
        elif layers:
            parameter = {1: "gamma", 2: "beta"}.get(len(layers[-1]), f"array{len(layers[-1])}")
            layers[-1][parameter] = place
    if any("gamma" not in layer for layer in layers):
        raise ValueError(
            f"{origin} has a convolution without its normalization, as selective kernels have: "
            "only ResNets without them can be imported"
        )
    for number, layer in enumerate(layers):
        layer["moving_mean"] = f"{_ENCODER}/{count + 2 * number}"
        layer["moving_variance"] = f"{_ENCODER}/{count + 2 * number + 1}"
    return layers


def _check_blocks(origin, kernels):
    if not kernels:
        raise ValueError(
            f"{origin} has no convolutions among its {_TRAINABLE}, and no names: an encoder that "
            "was frozen cannot be told without them"
        )
    sides = [kernel.shape[0] for kernel in kernels[:3]]
    channels = [kernel.shape[-1] for kernel in kernels[:3]]
    if sides == [3, 3, 3] and channels[2] == 2 * channels[0]:
        raise ValueError(
            f"{origin} has the stem of a ResNet-D, as SimCLR's networks with selective kernels "
            "(sk_ratio above 0) have: only ResNets without them can be imported"
        )


def _layer_names(origin, kernels):
    """What the layers are called, in their order: `stem`, `block_group1/block1/conv1`, ..."""
    sides = "".join(str(kernel.shape[0]) for kernel in kernels[1:])
    for pattern, (first, others) in _STAGES.items():
        if not re.fullmatch(f"(?:{pattern})+", sides):
            continue
        names = ["stem"]
        for stage, found in enumerate(re.findall(pattern, sides), start=1):
            blocks = [first] + [others] * ((len(found) - len(first)) // len(others))
            for number, layers in enumerate(blocks, start=1):
                names += [f"block_group{stage}/block{number}/{layer}" for layer in layers]
        return names
    raise ValueError(
        f"{origin} has convolutions of {sides or 'no'} pixels behind its stem: expected the blocks "
        "of a ResNet, 3, 3 or 1, 3, 1, with a shortcut of 1 in the first of each stage"
    )
