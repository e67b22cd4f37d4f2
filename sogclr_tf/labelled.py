"""The stream of supervised training: an augmented view of each image with its label.

{"image": uint8 [B, size, size, 3], "label": int32 [B], "index": int32 [B]}
"""

import dataclasses

from sogclr_tf import augment, data, image_text


@dataclasses.dataclass(frozen=True)
class LabelledViews(image_text.Pairs):
    """A view of every image of a source, with its label, in a new order each epoch.

    As `sogclr_tf.image_text.Pairs`, with the label in place of the text.
    """

    keys = ("image", "label", "index")
    taken = ("image", "label", "index")

    def _batch(self, views, examples):
        return {"image": views[0], "label": examples["label"], "index": examples["index"]}


def labelled_views(source, batch_size, policy, seed=0):
    """The training stream of images with a label each.

    Args:
        source: `sogclr_tf.sources.Source` with labels, or what else `training_views` takes that
            has them.
        batch_size: B, over all replicas; at least 2, at most the number of images.
        policy: how a view is drawn, as for `training_views`; `crops_and_flips` is what the papers
            train classifiers on.
        seed: int in [0, 2**31), of the order and of every random choice.

    Returns:
        `LabelledViews`.

    Raises:
        ValueError: the source has no labels, or an argument is out of range.
    """
    views = data.training_views(source, batch_size=batch_size, policy=policy, seed=seed)
    check_labelled(views.source)
    fields = (field.name for field in dataclasses.fields(views))
    return LabelledViews(**{name: getattr(views, name) for name in fields})


def crops_and_flips(size, *, min_area=0.08, flip=0.5):
    """A `Policy` of random crops and flips alone (SimCLR, arXiv 2002.05709, appendix B.5).

    Args:
        size: side of the view in pixels, >= 1.
        min_area: least share of the image that a crop keeps, in (0, 1].
        flip: probability of a left-right flip; 0 where a mirrored image is another class.
    """
    return augment.Policy(size=size, min_area=min_area, flip=flip, jitter=0.0, grey=0.0)


def check_labelled(source):
    """Raises ValueError unless the images of a source have labels."""
    if not source.labelled:
        raise ValueError(f"{source.name} has no labels: give one for each image")
