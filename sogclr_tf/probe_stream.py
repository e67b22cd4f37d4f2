"""A training stream with labelled images of another collection beside it, for an online probe."""

import dataclasses

import tensorflow as tf

from sogclr_tf import data, labelled

# Of a training step's examples: one in sixteen costs the forward pass of one image in 96.
_SHARE = 16


@dataclasses.dataclass(frozen=True)
class ProbedViews(data.Views):
    """Views of one collection, and in every batch some labelled images of another.

    As `sogclr_tf.data.Views`; batches have "probe_image" uint8 [P, H, W, 3] and "probe_label" int32
    [P] too, of which a step's are a function of the step.
    """

    probe: labelled.LabelledViews = None

    def stream(self, first_step=0, context=None):
        own = self.probe.stream(first_step, context)
        both = tf.data.Dataset.zip(super().stream(first_step, context), own)
        return both.map(
            lambda views, own: {
                **views,
                "probe_image": own["image"],
                "probe_label": own["label"],
            }
        ).prefetch(tf.data.AUTOTUNE)


def with_labelled(views, images, policy, replicas=1):
    """The same stream with labelled images of another collection beside it.

    A batch has one of them for sixteen examples, and at least one for each replica.

    Args:
        views: `sogclr_tf.data.Views`.
        images: a collection with labels, as `training_views` takes it.
        policy: how they are shown, a `sogclr_tf.augment.Policy` for views of the encoder's size.
        replicas: of the strategy that trains.

    Returns:
        `ProbedViews`.

    Raises:
        ValueError: the images have no labels, or are fewer than a batch takes.
    """
    share = replicas * max(1, views.batch_size // _SHARE // replicas)
    own = labelled.labelled_views(images, max(2, share), policy, views.seed)
    fields = {field.name: getattr(views, field.name) for field in dataclasses.fields(data.Views)}
    return ProbedViews(**fields, probe=own)
