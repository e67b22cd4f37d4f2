"""Encoders that a function of the user's own builds, named as `module:function`."""

import importlib
import inspect
import logging
import pathlib
import re
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import keras

from sogclr_tf.error_line import first_line

_LOG = logging.getLogger("sogclr_tf")


def find(name: str) -> Callable[..., Any]:
    """The function that `module:function` names; its module is imported.

    Args:
        name: such as `my_networks:build`. The module is found as `import` finds it: beside the
            command, in `PYTHONPATH` or installed.

    Raises:
        ValueError: there is no such module or function, or the module cannot be imported.
    """
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        missing = getattr(error, "name", None)
        # The module itself, and not one that it imports.
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{missing}."):
            raise ValueError(
                f"encoder {name!r}: there is no module {module_name!r}; start the command in the "
                "folder that holds it, or name that folder in PYTHONPATH"
            ) from None
        raise ValueError(
            f"encoder {name!r}: importing {module_name} raised {_described(error)}"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        there = [
            key
            for key, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        ]
        raise ValueError(
            f"encoder {name!r}: {module_name} has no function {function_name!r}; it has "
            f"{', '.join(there) or 'none'}"
        )
    return function


def options(function: Callable) -> tuple[str, ...] | None:
    """The keyword arguments of a function beside `input_shape`; None where it takes any."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return tuple(
        parameter.name
        for parameter in parameters
        if parameter.name != "input_shape" and parameter.kind != parameter.VAR_POSITIONAL
    )


def build(
    name: str, function: Callable, input_shape: Sequence[int | None], **arguments: Any
) -> keras.Model:
    """Returns the encoder that a function gives, as a model that is built for images of a shape.

    Args:
        name: of the function, for messages.
        function: called with `input_shape` (where it takes that) and the arguments. It returns a
            Keras model or layer: images float [B, H, W, C] in 0..1 to features [B, D]. A subclassed
            one is called once and comes back inside a functional model, whose last layer it is.
        input_shape: (height, width, channels).
        **arguments: of the function's own.

    Raises:
        ValueError: the function raises, or what it gives is no such encoder or cannot be rebuilt
            from a file.
    """
    taken = inspect.signature(function).parameters
    if "input_shape" in taken or options(function) is None:
        arguments = {"input_shape": tuple(input_shape), **arguments}
    encoder = _called(name, lambda: function(**arguments))
    if not isinstance(encoder, keras.layers.Layer):
        raise ValueError(
            f"encoder {name!r} gives a {type(encoder).__name__}: expected a Keras model from "
            "images [B, H, W, C] to features [B, D]"
        )
    if getattr(encoder, "inputs", None):
        _check_images(name, encoder, input_shape)
    else:
        encoder = _called(name, lambda: _functional(encoder, input_shape))
    _check_rebuilt(name, encoder)
    return encoder


def _functional(encoder: keras.layers.Layer, input_shape: Sequence[int | None]) -> keras.Model:
    images = keras.Input(tuple(input_shape), name="images")
    return keras.Model(images, encoder(images), name=f"{encoder.name}_of_images")


def _called(name: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        raise ValueError(f"encoder {name!r} raised {_described(error)}") from error


def _described(error: Exception) -> str:
    """An error and the last line of the user's own that led to it."""
    # Keras puts what a layer raised into bold type, behind a line that names the layer.
    bold = re.search(r"\x1b\[1m(.*?)\x1b\[0m", str(error), re.DOTALL)
    said = f"{type(error).__name__} ({_sentence(bold[1]) if bold else first_line(error)})"
    installed = pathlib.Path(keras.__file__).parents[1]
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not _is_below(frame.filename, installed, pathlib.Path(__file__).parents[1])
    ]
    return f"{said} at {pathlib.Path(own[-1].filename).name}:{own[-1].lineno}" if own else said


def _is_below(file: str, *folders: pathlib.Path) -> bool:
    return file.startswith("<") or any(
        pathlib.Path(file).is_relative_to(folder) for folder in folders
    )


def _check_images(name: str, encoder: keras.Model, input_shape: Sequence[int | None]) -> None:
    taken = encoder.inputs[0].shape[1:]
    fits = len(taken) == 3 and all(
        own in (None, side) for own, side in zip(taken, input_shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"encoder {name!r} takes images of {taken}, but these are {tuple(input_shape)}: let "
            "the function build for its argument input_shape"
        )


def _check_rebuilt(name: str, encoder: keras.Model) -> None:
    """Refuses what no `.keras` file can hold, before anything is trained; warns of what needs help.

    Warns, since checkpoints and SavedModels do without: where a file can be written and not read.
    """
    try:
        config = encoder.get_config()
    except Exception as error:
        raise ValueError(
            f"encoder {name!r} cannot be saved ({_sentence(str(error))}): give its class a "
            "get_config"
        ) from error
    try:
        type(encoder).from_config(config)
    except Exception as error:
        _LOG.warning(
            "encoder.keras of %r will be read with custom_objects or safe_mode=False alone (%s): "
            "decorate its classes with @keras.saving.register_keras_serializable()",
            name,
            _sentence(str(error)),
        )


def _sentence(message: str) -> str:
    """The first sentence of a message, which Keras breaks into lines."""
    return " ".join(message.split()).partition(". ")[0]
