"""The training stream of two towers: an augmented view of each image with its text.

Any tf.data.Dataset whose elements are batches

    {"image": uint8 or float in 0..1 [B, H, W, 3], "text": string [B], "index": int [B]}

trains a `TwoTowerSogCLR` model; further keys are ignored. "text" may hold token ids int [B, L]
instead, for a text encoder without a tokeniser. Index i must always mean the same pair, and lie in
[0, num_examples). `training_pairs` makes such a stream from images and texts.
"""

import dataclasses

import tensorflow as tf

from sogclr_tf import augment, data, sources


@dataclasses.dataclass(frozen=True)
class Pairs(data.Views):
    """A view of every image of a source, with its text, in a new order each epoch.

    As `sogclr_tf.data.Views`, with one view (drawn by `policy_a`) and the text as it is.
    """

    keys = ("image", "text", "index")
    taken = ("image", "text", "index")

    def samples(self, count):
        """(originals, their views of epoch 0, of epoch 1) of the first examples, to look at.

        As `Views.samples`.
        """
        examples = tf.data.Dataset.range(1).flat_map(lambda epoch: self._epoch(epoch, 0))
        examples, source = examples.take(count), self.source
        with sources.clear_errors(source, lambda: examples):
            originals = [source.decode(source.read(x["image"])).numpy() for x in examples]
            return originals, *(self._views_of(examples, epoch, count) for epoch in (0, 1))

    def _views_of(self, examples, epoch, count):
        epoch = tf.constant(epoch, tf.int64)
        views = examples.map(lambda example: self._views({**example, "epoch": epoch}))
        return list(next(iter(views.batch(count)))["image"].numpy())

    @property
    def _policies(self):
        return (self.policy_a,)

    def _batch(self, views, examples):
        return {"image": views[0], "text": examples["text"], "index": examples["index"]}


def training_pairs(images, texts=None, *, batch_size, policy=None, seed=0):
    """The training stream of images with a text each.

    Args:
        images: an array, uint8 or float in 0..1, [N, H, W, C] (C in 1, 3, 4) or [N, H, W]; or a
            `sogclr_tf.sources.Source` with texts; or a finite tf.data.Dataset of {"image", "text"}
            dictionaries, unbatched and unshuffled.
        texts: with an array, N strings.
        batch_size: B, over all replicas; at least 2, at most the number of pairs.
        policy: `sogclr_tf.augment.Policy` of the view. Default: a mild one, which leaves most of
            the image and its colours as the text describes them.
        seed: int in [0, 2**31), of the order and of every random choice.

    Returns:
        `Pairs`.

    Raises:
        ValueError: an argument is out of range, or the images or texts cannot be used.
    """
    if texts is not None:
        if isinstance(images, (sources.Source, tf.data.Dataset)):
            raise ValueError("texts belong inside the source or data set: {'image', 'text'}")
        images = sources.ArraySource(images, texts=texts)
    source = sources.as_source(images)
    if not source.has_text:
        raise ValueError(f"{source.name} has no texts: give one for each image")
    if policy is None:
        policy = mild(min(source.image_size or (0,)))
    views = data.training_views(source, batch_size=batch_size, policy=policy, seed=seed)
    return Pairs(**{field.name: getattr(views, field.name) for field in dataclasses.fields(views)})


def mild(size):
    """A `Policy` that keeps what a text may speak of: place, colour and left and right.

    Args:
        size: side of the view, >= 1.
    """
    if size < 1:
        raise ValueError(
            "the images differ in size: say how large a view is to be, "
            "policy=sogclr_tf.image_text.mild(size)"
        )
    return augment.Policy(
        size=size, min_area=0.6, flip=0.0, jitter=0.5, strength=0.3, grey=0.0, blur=0.0
    )
