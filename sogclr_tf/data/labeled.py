"""Streams with labels: for supervised training, and beside a training stream for its probe.

{"image": uint8 or float32 [B, H, W, C], "label": int32 [B], "index": int32 [B]}
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from sogclr_tf.data import stream_arguments
from sogclr_tf.data.autograph import as_it_stands
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.single_view import SingleViewStream
from sogclr_tf.data.sources.labels import check_labeled
from sogclr_tf.data.view_size import Size
from sogclr_tf.data.views import Views

# Of a training step's examples: one in sixteen costs the forward pass of one image in 96.
_SHARE = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabeledViews(SingleViewStream):
    """A view of every image of a source, with its label, in a new order each epoch."""

    keys = ("image", "label", "index")


def labeled_views(
    images: Any, batch_size: int, policy: Policy | Callable, seed: int = 0
) -> LabeledViews:
    """The training stream of images with a label each.

    Args:
        images: `sogclr_tf.Source` with labels, or what else `training_views` takes that
            has them.
        batch_size: B, over all replicas; at least 2, at most the number of images.
        policy: how a view is drawn, as for `training_views`; `crops_and_flips` is what the papers
            train classifiers on.
        seed: int in [0, 2**31), of the order and of every random choice.

    Returns:
        `LabeledViews`.

    Raises:
        ValueError: the source has no labels, or an argument is out of range.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> source = sogclr_tf.ArraySource(np.zeros([64, 16, 16, 3], np.uint8), np.arange(64) % 4)
        >>> views = sogclr_tf.labeled_views(source, 32, sogclr_tf.crops_and_flips(16))
        >>> batch = next(iter(views.stream()))
        >>> {key: tuple(value.shape) for key, value in sorted(batch.items())}
        {'image': (32, 16, 16, 3), 'index': (32,), 'label': (32,)}
    """
    source = stream_arguments.checked_source(images)
    stream_arguments.check_batch(source, batch_size, seed)
    stream_arguments.check_policy(policy, source)
    check_labeled(source)
    return LabeledViews(source=source, batch_size=int(batch_size), policy=policy, seed=int(seed))


def crops_and_flips(size: Size, *, min_area: float = 0.08, flip: float = 0.5) -> Policy:
    """A `Policy` of random crops and flips alone (SimCLR, arXiv 2002.05709, appendix B.5).

    Args:
        size: of the view in pixels: the side of a square, or (height, width).
        min_area: least share of the image that a crop keeps, in (0, 1].
        flip: probability of a left-right flip; 0 where a mirrored image is another class.

    Returns:
        The policy.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> import sogclr_tf
        >>> policy = sogclr_tf.crops_and_flips(224)
        >>> policy.min_area, policy.flip, policy.jitter
        (0.08, 0.5, 0.0)
    """
    return Policy(size=size, min_area=min_area, flip=flip, jitter=0.0, grayscale=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbedViews(Views):
    """Views of one collection, and in every batch some labeled images of another.

    As `Views`; batches have "probe_image" uint8 [P, H, W, C] and "probe_label" int32 [P] too, of
    which a step's are a function of the step.
    """

    probe: LabeledViews

    @as_it_stands
    def stream(
        self, first_step: int = 0, context: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        labeled = self.probe.stream(first_step, context)
        both = tf.data.Dataset.zip(super().stream(first_step, context), labeled)
        return both.map(
            lambda views, labeled: {
                **views,
                "probe_image": labeled["image"],
                "probe_label": labeled["label"],
            }
        ).prefetch(tf.data.AUTOTUNE)


def with_labeled(
    views: Views, images: Any, policy: Policy | Callable, replicas: int = 1
) -> ProbedViews:
    """The same stream with labeled images of another collection beside it.

    A batch has one of them for sixteen examples, and at least one for each replica.

    Args:
        views: `Views`.
        images: a collection with labels, as `training_views` takes it.
        policy: how they are shown, a `sogclr_tf.Policy` for views of the encoder's size.
        replicas: of the strategy that trains.

    Returns:
        `ProbedViews`.

    Raises:
        ValueError: the images have no labels, or are fewer than a batch takes.
    """
    share = replicas * max(1, views.batch_size // _SHARE // replicas)
    probe = labeled_views(images, max(2, share), policy, views.seed)
    fields = {field.name: getattr(views, field.name) for field in dataclasses.fields(Views)}
    return ProbedViews(**fields, probe=probe)
