"""The training stream of two towers: an augmented view of each image with its text.

Any tf.data.Dataset whose elements are batches

    {"image": uint8 or float in 0..1 [B, H, W, C], "text": string [B], "index": int [B]}

trains a `TwoTowerSogCLR` model; "image_changes" are what the model finishes the views by (see
`finishing`), and further keys are ignored. "text" may hold token ids int [B, L] instead, for a text
encoder without a tokenizer. Index i must always mean the same pair, and lie in
[0, num_examples). `training_pairs` makes such a stream from images and texts.

Where images have several captions, a batch shows one of them with each image and has

    "caption_index": int [B]

too: the caption's own number in [0, num_captions), while the index is the image's. A stream of your
own may show an image twice in a batch then, with whichever captions: they are no negatives of one
another.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from sogclr_tf.data import randomness, stream_arguments
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.single_view import SingleViewStream
from sogclr_tf.data.sources.arrays import ArraySource
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.sources.manifest_table import is_table, lists_paths
from sogclr_tf.data.sources.open import as_source
from sogclr_tf.data.sources.readable import usable
from sogclr_tf.data.sources.shard_pattern import is_shards
from sogclr_tf.data.sources.tar import TarSource
from sogclr_tf.data.stated_pixels import ValueRange
from sogclr_tf.data.view_size import Size


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageTextPairs(SingleViewStream):
    """A view of every image of a source, with its text, in a new order each epoch.

    Of several captions of an image an epoch shows one, which is drawn by (seed, epoch, index).
    Made by `training_pairs`. Pass it to `TwoTowerSogCLR.fit`, or take a tf.data.Dataset from
    `epoch` or `stream`.
    """

    keys = ("image", "text", "index")

    @property
    def columns(self) -> tuple[str, ...]:
        return self.keys if self.num_captions is None else (*self.keys, "caption_index")

    @property
    def num_captions(self) -> int | None:
        """Caption indices lie in [0, num_captions); None where each image has one text."""
        return self.source.num_captions

    def _with_epoch(self, examples: tf.data.Dataset, epoch: tf.Tensor) -> tf.data.Dataset:
        if self.num_captions is not None:
            examples = examples.map(lambda example: self._with_one_caption(example, epoch))
        return super()._with_epoch(examples, epoch)

    def _with_one_caption(self, example: dict, epoch: tf.Tensor) -> dict:
        index = example["index"]
        first, end = self._offsets[index], self._offsets[index + 1]
        number = randomness.choice(self.seed, epoch, index, end - first)
        return {**example, "text": example["text"][number], "caption_index": first + number}

    @functools.cached_property
    def _offsets(self) -> tf.Tensor:
        """The source's `caption_offsets`: int32 [num_examples + 1]."""
        # It is asked for where a graph is made, which would hold all of it as a constant.
        with tf.init_scope():
            return tf.constant(self.source.caption_offsets, tf.int32)


def training_pairs(
    images: Any,
    texts: Sequence | None = None,
    *,
    batch_size: int,
    policy: Policy | Callable | None = None,
    seed: int = 0,
    channels: int | None = None,
    value_range: ValueRange | None = None,
    finish: str = "host",
    on_error: str = "raise",
) -> ImageTextPairs:
    """The training stream of images with a text each, or with several.

    Args:
        images: an array, uint8, uint16, int16 or float in 0..1, [N, H, W, C] or [N, H, W]; or a
            `sogclr_tf.Source` with texts; or a table with a column "caption", as
            `sogclr_tf.ManifestSource` takes it; or the pattern of tar shards with a .txt beside
            each image (see `sogclr_tf.TarSource`); or a list of paths; or a finite
            tf.data.Dataset of {"image", "text"} dictionaries, unbatched, unshuffled and without
            random augmentation.
        texts: with an array or a list of paths, N strings; or N lists of strings, the captions of
            each image, of which an epoch shows one that is drawn anew each time;
            `TwoWayGlobalContrastiveLoss` takes `num_captions=pairs.num_captions` then.
        batch_size: B, over all replicas; at least 2, at most the number of pairs.
        policy: `sogclr_tf.Policy` of the view. Default: a mild one, which leaves most of
            the image and its colors as the text describes them.
        seed: int in [0, 2**31), of the order and of every random choice.
        channels, value_range, finish, on_error: as for `sogclr_tf.training_views`. Pairs that
            cannot be used are refused or left out likewise, such as those with an empty caption.

    Returns:
        `ImageTextPairs`.

    Raises:
        ValueError: an argument is out of range, or the images or texts cannot be used.
        FileNotFoundError: a file is not there.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> images = np.zeros([32, 16, 16, 3], np.uint8)
        >>> pairs = sogclr_tf.training_pairs(images, ["a cat", "a dog"] * 16, batch_size=8)
        >>> batch = next(iter(pairs.stream()))
        >>> sorted(batch), batch["text"].shape
        (['image', 'index', 'text'], TensorShape([8]))
    """
    if texts is not None:
        if isinstance(images, (str, os.PathLike, Source, tf.data.Dataset)) or is_table(images):
            raise ValueError(
                "texts belong inside the source, the table (a column caption), the tar shards or "
                "the data set: {'image', 'text'}"
            )
        if lists_paths(images):
            images = {"path": images, "caption": texts}
        else:
            images = ArraySource(images, texts=texts, channels=channels, value_range=value_range)
    elif isinstance(images, (str, os.PathLike)) and is_shards(images):
        images = TarSource(images, text="txt", channels=channels, value_range=value_range)
    stream_arguments.check_on_error(on_error)
    source = usable(as_source(images, channels=channels, value_range=value_range), on_error)
    if not source.has_text:
        raise ValueError(f"{source.name} has no texts: give one for each image")
    if policy is None:
        if source.image_size is None:
            raise ValueError(
                f"images of {source.name} differ in size: say how large a view is to be, "
                "policy=sogclr_tf.data.image_text.mild(size)"
            )
        policy = mild(min(source.image_size))
        if source.pixel_format.channels != 3:
            policy = dataclasses.replace(policy, saturation=0.0, hue=0.0)
    stream_arguments.check_batch(source, batch_size, seed)
    stream_arguments.check_policy(policy, source)
    stream_arguments.check_finish(finish, (policy,))
    return ImageTextPairs(
        source=source, batch_size=int(batch_size), policy=policy, seed=int(seed), finish=finish
    )


def mild(size: Size) -> Policy:
    """A `Policy` that keeps what a text may speak of: place, color and left and right.

    Args:
        size: of the view in pixels: the side of a square, or (height, width).
    """
    return Policy(
        size=size, min_area=0.6, flip=0.0, jitter=0.5, strength=0.3, grayscale=0.0, blur=0.0
    )
