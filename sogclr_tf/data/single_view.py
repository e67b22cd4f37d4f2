"""Streams of one view of each example, beside what its source says of it."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from sogclr_tf.data.finishing import finished
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.stream import Stream


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleViewStream(Stream):
    """A view of every image of a source, with its label or text, in a new order each epoch.

    A subclass gives `keys`: "image", what stands beside it, and "index".

    Attributes:
        policy: how the view is drawn, a `Policy` or a function (image, seed) -> view.
    """

    policy: Policy | Callable

    view_keys = ("image",)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.keys

    @property
    def policies(self) -> tuple[Policy | Callable, ...]:
        return (self.policy,)

    def _batch(self, views: list, examples: dict) -> dict:
        return {key: views[0] if key == "image" else examples[key] for key in self.columns}

    def _two_views(self, examples: tf.data.Dataset, count: int) -> tuple[list, list]:
        return self._views_of(examples, 0, count), self._views_of(examples, 1, count)

    def _views_of(self, examples: tf.data.Dataset, epoch: int, count: int) -> list:
        number = tf.constant(epoch, tf.int64)
        views = examples.map(lambda example: self._views({**example, "epoch": number}))
        return list(finished(next(iter(views.batch(count))))["image"].numpy())
