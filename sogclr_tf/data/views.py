"""The training stream: two augmented views of each example, with its index.

Any tf.data.Dataset whose elements are batches

    {"view_a": uint8 or float in 0..1 [B, H, W, C], "view_b": the same, "index": int [B]}

trains a `SogCLR` model; "label" int [B] teaches its probe, if it has one; "view_a_changes" and
"view_b_changes" are what the model finishes the views by (see `finishing`), and further keys are
ignored. Index i must always mean the same example, and lie in [0, num_examples). A batch holds
at least 2 examples, and as many for each replica. `training_views` makes such a stream from images.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from sogclr_tf.data.finishing import finished
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.stream import Stream


@dataclasses.dataclass(frozen=True, kw_only=True)
class Views(Stream):
    """Two views of every example of a source, in a new order each epoch.

    Made by `training_views`. Pass it to `SogCLR.fit`, or take a tf.data.Dataset from `epoch` or
    `stream`.

    Attributes:
        policy_a: how the first view is drawn, a `Policy` or a function (image, seed) -> view.
        policy_b: how the second is.
    """

    policy_a: Policy | Callable
    policy_b: Policy | Callable

    keys = ("view_a", "view_b", "index")
    view_keys = ("view_a", "view_b")

    @property
    def columns(self) -> tuple[str, ...]:
        return ("image", "index", *(["label"] if self.source.labeled else []))

    @property
    def policies(self) -> tuple[Policy | Callable, ...]:
        return (self.policy_a, self.policy_b)

    def _batch(self, views: list, examples: dict) -> dict:
        others = {key: examples[key] for key in self.columns if key != "image"}
        return {"view_a": views[0], "view_b": views[1], **others}

    def _two_views(self, examples: tf.data.Dataset, count: int) -> tuple[list, list]:
        batch = finished(next(iter(examples.map(self._views).batch(count))))
        return list(batch["view_a"].numpy()), list(batch["view_b"].numpy())
