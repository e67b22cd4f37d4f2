"""What an encoder must take and give: one tensor each, the latter features."""

from collections.abc import Mapping
from typing import Any

import keras

from sogclr_tf.models import keras_hooks
from sogclr_tf.models.unit_range import warn_of_range


def check_one_tensor(encoder: keras.layers.Layer, what: str = "images") -> None:
    """Raises ValueError where an encoder takes or gives a dictionary or several tensors.

    Of subclassed models, whose calls alone show it, nothing is known beforehand.

    Args:
        encoder: a Keras layer or model.
        what: it is to take, for the message.
    """
    if not keras_hooks.is_graph(encoder):
        return
    if _is_structure(encoder.output):
        raise _several_outputs(encoder, encoder.output)
    taken = encoder.input
    if not _is_structure(taken):
        return
    way = f"build it from {what} alone"
    if len(keras.tree.flatten(taken)) == 1:
        way = f"give keras.Model(encoder.input[{next(iter(taken))!r}], encoder.output)"
    raise ValueError(
        f"the encoder '{encoder.name}' takes {_described(taken)}: expected {what} alone, so {way}"
    )


def check_usable(encoder: Any) -> None:
    """Raises as `check_one_tensor` does, and warns as `warn_of_range`, of an encoder of images.

    For evaluations and exports, which take encoders that no model here need have trained; other
    callables pass.
    """
    check_one_tensor(encoder)
    warn_of_range(encoder)


def features_of(encoder: keras.layers.Layer, what: keras.KerasTensor) -> int:
    """The number of features of an encoder that is called with `what`, a keras.KerasTensor.

    Raises:
        ValueError: its output is not [B, C].
    """
    given = encoder(what)
    unpacked = isinstance(encoder, keras.Sequential) or keras_hooks.is_graph(encoder)
    if _is_structure(given) or (isinstance(given, (list, tuple)) and not unpacked):
        raise _several_outputs(encoder, given)
    (features,) = keras.tree.flatten(given)
    if len(features.shape) != 2 or features.shape[-1] is None:
        raise ValueError(
            f"the encoder's output has shape {features.shape}: expected features [B, C], so end it "
            "with a pooling or Flatten layer"
        )
    return features.shape[-1]


def _is_structure(given: Any) -> bool:
    # A functional model takes a tensor out of a list of one.
    return isinstance(given, Mapping) or (isinstance(given, (list, tuple)) and len(given) > 1)


def _several_outputs(encoder: keras.layers.Layer, given: Any) -> ValueError:
    matrices = [key for key, tensor in _entries(given) if len(getattr(tensor, "shape", ())) == 2]
    chosen = matrices[0] if matrices else _entries(given)[0][0]
    way = "let its call return one of them"
    if keras_hooks.is_graph(encoder):
        way = f"choose one, such as keras.Model(encoder.input, encoder.output[{chosen!r}])"
    return ValueError(
        f"the encoder '{encoder.name}' gives {_described(given)}: expected features [B, C] alone, "
        f"so {way}"
    )


def _described(tensors: Any) -> str:
    kind = "a dictionary" if isinstance(tensors, Mapping) else f"a list of {len(tensors)}"
    shown = (f"{key!r} {getattr(tensor, 'shape', '')}" for key, tensor in _entries(tensors))
    return f"{kind} ({', '.join(shown)})"


def _entries(tensors: Any) -> list[tuple]:
    return list(tensors.items() if isinstance(tensors, Mapping) else enumerate(tensors))
