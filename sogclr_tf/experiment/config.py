"""The config of a run: one schema with its defaults, and what differs from them."""

import pathlib
import runpy
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from sogclr_tf.experiment.config_keys import flat, flat_keys, valid_keys
from sogclr_tf.experiment.config_values import check_values
from sogclr_tf.experiment.size_field import size_field

# What a later command may set otherwise, because it does not shape the training.
FREE_KEYS = (
    "data.data_dir",
    "data.finish",
    "data.test_split",
    "checkpoint",
    "monitor.data.data_dir",
    "monitor.normalizer_every_epochs",
    "evaluation",
    "export",
    "report",
)
# Sections and keys that a run of the other kind does not read.
_IMAGES_ALONE = (
    *("data.service", "augment_b", "projector.layers", "projector.normalization"),
    *("report", "evaluation"),
    *(f"monitor.{key}" for key in ("probe_rate", "bank", "data")),
)
_IMAGES_WITH_TEXTS = ("text_encoder",)
# Sections whose further keys are arguments of what their `name` names, and checked there.
_OPEN = ("encoder", "loss")
# Keys of such a section that a config may lack which puts another dictionary in its place.
_LATER = {
    *("encoder.weights", "encoder.normalization", "encoder.padding", "encoder.stride_in"),
    *("encoder.shortcuts", "encoder.input_normalization"),
}


def default_config() -> ConfigDict:
    """All keys with their defaults. A recipe states what differs:

    from sogclr_tf.experiment.config import default_config

    def get_config():
        config = default_config()
        config.data.name = "./pets"
        return config
    """
    return ConfigDict(
        {
            "seed": 0,
            "data": _data(),
            "augment": _augment(),
            # Of view b, where it is to differ: None is as above.
            "augment_b": {key: placeholder(float) for key in _augment()},
            "encoder": _encoder(),
            "text_encoder": _text_encoder(),
            "projector": {"layers": 2, "output": 128, "normalization": "batch"},  # or layer
            "loss": _loss(),
            "batch_size": 64,
            "chunks": 1,  # parts in which a replica takes its batch, to need less memory
            "epochs": 100,
            "steps_per_execution": 1,
            "precision": "float32",  # or mixed_bfloat16, mixed_float16
            "optimizer": _optimizer(),
            "checkpoint": {
                "every_epochs": 10,
                "every_steps": 0,  # more often than that; 0: not
                "keep": 3,
            },
            "monitor": _monitor(),
            "evaluation": _evaluation(),
            "export": {
                "keep": 3,  # of the newest versions; 0: all
                "weights": "float32",  # of the kernels in the file; or bfloat16, float16
                "warmup": (),  # batch sizes of TF Serving's first requests, such as (1, 8)
                "tflite": False,  # a TFLite file with 8-bit kernels besides
            },
            "report": {
                # Channels shown as red, green and blue, or one as gray, each stretched from its 2nd
                # to its 98th percentile; empty: images as they are, or the first channels.
                "bands": (),
            },
        }
    )


def _data() -> dict:
    return {
        # Or a TFDS name, ./FOLDER, ./TABLE.csv, ./{split}/*.tar, ./{split}-*.tfrecord.
        "name": "digits",
        "data_dir": placeholder(str),  # where TFDS keeps it
        # The feature, column or member (txt) with each image's texts; empty: images alone.
        "text": "",
        "on_error": "raise",  # at an image or a text that cannot be used; or skip it
        "service": "",  # grpc://HOST:PORT of a tf.data service; empty: none
        "finish": "auto",  # where views are flipped and colored: host, device; auto: GPU or TPU
        "train_split": "train",
        "test_split": "test",
        "image_size": size_field(32),  # of a view: its side in pixels, or (height, width)
        "channels": 3,  # of an image; gray is repeated for 3
        "value_range": (),  # stored values of black and white, (0, 4095); empty: the dtype's
        # The features of TFRecord files; or columns of a table where they are named otherwise than
        # path and label, members of a tar otherwise than cls; empty label: none; empty index: the
        # place in the files.
        "features": {
            "image": "image/encoded",
            "label": "image/class/label",
            "index": "",
            "dtype": "",  # of raw pixels in TFRecord files, such as uint16; empty: encoded images
            "shape": (),  # of those, (64, 64, 13), or with names of features in place of numbers
        },
    }


def _augment() -> dict:
    """SimCLR's for ImageNet but for the blur; `sogclr_tf.Policy` says what each is."""
    return {
        "min_area": 0.08,
        "max_aspect": 4 / 3,
        "flip": 0.5,
        "jitter": 0.8,
        "strength": 1.0,
        "saturation": 0.8,  # of the strength
        "hue": 0.2,  # of the strength
        "grayscale": 0.2,
        "blur": 0.0,
        "solarize": 0.0,
    }


def _encoder() -> dict:
    """And further arguments that it takes."""
    return {
        "name": "resnet50",
        "weights": "",  # what load_encoder reads, to start from; empty: random ones
        "normalization": placeholder(str),  # group: without statistics of the batch
        # Of ResNets, for weights of other libraries; None, here and above: its own default.
        "padding": placeholder(str),
        "stride_in": placeholder(str),
        "shortcuts": placeholder(str),
        "input_normalization": placeholder(tuple),
    }


def _text_encoder() -> dict:
    return {
        "tokenizer": "words",  # or bpe: subwords of the texts; or a file of merges, as CLIP's
        "max_tokens": 20_000,  # of the vocabulary, at most
        "length": 12,  # words or subwords of a text that are read
        "width": 64,
        "blocks": 1,
        "heads": 4,
        "dropout": 0.0,
        "causal": False,
        "pooling": "mean",  # over the tokens; or last
        "activation": "gelu",  # or quick_gelu
    }


def _loss() -> dict:
    """Each loss takes the keys that are its own."""
    return {
        "name": "sogclr",
        "temperature": 0.1,  # where it starts, if it is learned
        "negatives": "both",  # views of the other examples, or those of the "other" side
        "gamma": 0.9,
        "gamma_decay": 0.0,  # share of training over which gamma falls from 1; 0: constant
        "gamma_rule": "constant",  # or visits, proximal: of each entry, gamma at the least
        "gamma_shift": 2.2,  # of proximal
        "drift_rate": 0.0,  # how fast all entries follow what the batch's have changed by
        "temperature_scheme": "constant",  # of pairs: global is learned; individual, unscaled
        "temperature_optimizer": placeholder(str),  # of two_way: adam, at the rate eta
        "epsilon": 0.0,  # of two_way, beside g
        "bias": -10.0,  # of siglip, where it starts
        "rho": 0.3,  # this and what follows: of learned temperatures
        "eta": 0.01,
        "beta": 0.9,
        "min_temperature": 0.05,
        "max_temperature": 0.7,
    }


def _optimizer() -> dict:
    return {
        "name": "lars",
        "learning_rate": 0.075,
        "scaling": "sqrt",  # of the rate with the examples of an update; or linear, constant
        "weight_decay": 1e-6,
        "warmup_epochs": 10.0,
        "gradient_accumulation_steps": 1,  # batches whose gradients make one update
        "ema": 0.0,  # what an average of the weights keeps of itself an update, 0.999; 0: none
    }


def _monitor() -> dict:
    """Beside training. Of labeled images the probe, and kNN; of pairs the recall both ways."""
    return {
        "probe_rate": 1e-3,  # Adam's, of the online linear probe; 0: no probe
        "every_epochs": 10,  # kNN and probe on test images, or recall on test pairs; 0: never
        "bank": 8192,  # training images that vote, at most
        "queries": 2048,  # test images or pairs, at most
        # Labeled images for probe and kNN, where the data's own have no labels.
        "data": _other_data(),
        # The error of the table, or of the batch where a loss has none, against all N examples: a
        # forward pass of both views, and 2 N^2 comparisons; 0: never.
        "normalizer_every_epochs": 0,
    }


def _evaluation() -> dict:
    return {
        "knn_neighbors": (20, 200),
        "knn_temperature": 0.07,
        "linear": "lbfgs",  # or sgd, the papers' recipe; none: left out
        "linear_rate": 0.1,  # this and what follows: of sgd, at batch 256
        "linear_batch_size": 256,
        "linear_epochs": 90,
        "fine_tune": (),  # percent of the labels, such as (1, 10, 100)
        # Another set to evaluate on, for transfer.
        "data": _other_data(),
    }


def _other_data() -> dict:
    return {
        "name": "",  # empty: as data.name
        "data_dir": placeholder(str),
        "train_split": "train",
        "test_split": "test",
    }


def has_texts(config: ConfigDict) -> bool:
    """Whether a run is one of images and texts."""
    return bool(config.data.text)


def check_config(config: ConfigDict) -> None:
    """Raises ValueError where a config lacks a key, or has one that nothing reads.

    And where a value is out of range, as `config_values.check_values` says.
    """
    expected = set(flat_keys(default_config()))
    found = set(flat_keys(config))
    for key in sorted(found - expected):
        if key.partition(".")[0] not in _OPEN:
            raise ValueError(f"the config has an unknown key '{key}': {valid_keys(key, expected)}")
    for key in sorted(expected - found - _LATER):
        raise ValueError(
            f"the config lacks the key '{key}': begin with "
            "sogclr_tf.experiment.config.default_config()"
        )
    kind, unread = ("images", _IMAGES_WITH_TEXTS)
    if has_texts(config):
        kind, unread = ("images and texts", _IMAGES_ALONE)
    for key in differences(config):
        if _is_below(key, unread):
            raise ValueError(f"the config sets '{key}', which a run of {kind} does not read")
    check_values(config)


def differences(config: ConfigDict) -> dict[str, Any]:
    """{dotted key: value} of what differs from the defaults."""
    usual = dict(flat(default_config()))
    return {key: value for key, value in flat(config) if usual.get(key) != value}


def is_free(key: str) -> bool:
    """Whether a later command in the same folder may set a key otherwise."""
    return _is_below(key, FREE_KEYS)


def config_of_file(path: str | pathlib.Path) -> ConfigDict:
    """The config that a file's `get_config` gives."""
    return runpy.run_path(str(path))["get_config"]()


def recipe_path(name: str) -> pathlib.Path:
    """The path of a recipe of this project, in a checkout or in an installation."""
    package = pathlib.Path(__file__).resolve().parents[1]
    places = [package.parent / "configs" / name, package / "configs" / name]
    return next((place for place in places if place.exists()), places[0])


def _is_below(key: str, prefixes: Iterable[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)
