"""The losses by name, for configs and the command."""

import inspect
from collections.abc import Callable
from typing import Any

from sogclr_tf.losses.base import ContrastiveLoss
from sogclr_tf.losses.clip import CLIPLoss
from sogclr_tf.losses.global_contrastive import GlobalContrastiveLoss
from sogclr_tf.losses.in_batch import DecoupledContrastiveLoss, NTXentLoss
from sogclr_tf.losses.robust import RobustGlobalContrastiveLoss
from sogclr_tf.losses.siglip import SigLIPLoss
from sogclr_tf.losses.two_way import TwoWayGlobalContrastiveLoss

_LOSSES: dict[str, type[ContrastiveLoss]] = {
    "simclr": NTXentLoss,
    "dcl": DecoupledContrastiveLoss,
    "sogclr": GlobalContrastiveLoss,
    "isogclr": RobustGlobalContrastiveLoss,
    "clip": CLIPLoss,
    "siglip": SigLIPLoss,
    "two_way": TwoWayGlobalContrastiveLoss,
}


def register_loss(name: str) -> Callable[[type[ContrastiveLoss]], type[ContrastiveLoss]]:
    """Makes a class one of the losses that configs and the command know by name.

    Args:
        name: by which `build_loss` and `config.loss.name` find the class.

    Returns:
        A decorator of classes.

    Raises:
        TypeError: the class is no `ContrastiveLoss`.
        ValueError: the name is taken.

    Examples:
        >>> import tensorflow as tf
        >>> import sogclr_tf
        >>> @sogclr_tf.register_loss("attraction")
        ... class Attraction(sogclr_tf.ContrastiveLoss):
        ...     def compute(self, compared, index, training):
        ...         return 1 - tf.reduce_mean(compared.positive)
        >>> sogclr_tf.build_loss("attraction", num_examples=100).temperature
        0.1
    """

    def register(loss: type[ContrastiveLoss]) -> type[ContrastiveLoss]:
        if not (isinstance(loss, type) and issubclass(loss, ContrastiveLoss)):
            raise TypeError(f"{loss!r} is no loss: derive it from sogclr_tf.ContrastiveLoss")
        if _LOSSES.setdefault(name, loss) is not loss:
            raise ValueError(f"there is a loss '{name}' already: choose another name")
        return loss

    return register


def loss_names() -> list[str]:
    """The names that `build_loss` knows."""
    return sorted(_LOSSES)


def loss_options(name: str) -> tuple[str, ...]:
    """The names of the arguments of the loss called `name`."""
    return _class_of(name).options


def losses_for(sides: str) -> list[str]:
    """The names of the losses that contrast "views" of images, or "pairs" of images and texts."""
    return [name for name in loss_names() if _LOSSES[name].contrasts in ("any", sides)]


def build_loss(
    name: str, num_examples: int, num_captions: int | None = None, **options: Any
) -> ContrastiveLoss:
    """The loss called `name` for a training set of `num_examples` examples.

    Args:
        name: one of `loss_names()`.
        num_examples: the size of the training set; losses without a table do not need it.
        num_captions: of all images, where an image may have several; losses without a table do not
            need it.
        **options: the loss's own arguments, such as `temperature` and `gamma`.

    Returns:
        The loss, with a table where it is of a kind that has one.

    Raises:
        ValueError: the name or an option is unknown, an option is out of range, or the loss has a
            table and cannot have a row per caption.

    Examples:
        >>> import sogclr_tf
        >>> loss = sogclr_tf.build_loss("sogclr", num_examples=1000, temperature=0.1, gamma=0.5)
        >>> type(loss).__name__, loss.gamma
        ('GlobalContrastiveLoss', 0.5)
    """
    loss = _class_of(name)
    unknown = sorted(set(options) - set(loss.options))
    if unknown:
        raise ValueError(
            f"loss '{name}' has no option '{unknown[0]}': it takes {', '.join(loss.options)}"
        )
    if loss.has_table:
        options["num_examples"] = num_examples
        if num_captions is not None:
            _check_takes_captions(name, loss)
            options["num_captions"] = num_captions
    return loss(**options)


def _check_takes_captions(name: str, loss: type[ContrastiveLoss]) -> None:
    if "num_captions" not in inspect.signature(loss).parameters:
        raise ValueError(
            f"loss '{name}' has one row for an image and its text, but images have several "
            "captions: choose two_way, or a loss without a table"
        )


def _class_of(name: str) -> type[ContrastiveLoss]:
    if name not in _LOSSES:
        raise ValueError(f"unknown loss '{name}': choose one of {', '.join(loss_names())}")
    return _LOSSES[name]
