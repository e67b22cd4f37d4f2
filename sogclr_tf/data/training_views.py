"""The training stream of a collection of images, whatever holds them."""

from collections.abc import Callable
from typing import Any

from sogclr_tf.data import data_service, policies, stream_arguments
from sogclr_tf.data.policies import Policy
from sogclr_tf.data.sources.base import Source
from sogclr_tf.data.stated_pixels import ValueRange
from sogclr_tf.data.views import Views


def training_views(
    images: Any,
    *,
    batch_size: int,
    policy: Policy | str | Callable | None = None,
    policy_b: Policy | Callable | None = None,
    seed: int = 0,
    data_dir: str | None = None,
    channels: int | None = None,
    value_range: ValueRange | None = None,
    on_error: str = "raise",
    service: str | None = None,
    finish: str = "host",
) -> Views:
    """The training stream of a collection of images.

    Args:
        images: one of
            an array, uint8, uint16, int16 or float in 0..1, [N, H, W, C] or [N, H, W];
            a finite tf.data.Dataset of images, (image, label) pairs or {"image", ...}
            dictionaries, unbatched, unshuffled and without random augmentation: the index is the
            position, so that every pass must give the same (`sogclr_tf.DatasetSource` checks it);
            the path of a folder of images, with or without a sub-folder per class, or of TFRecord
            files with "image/encoded" ("./pets", "gs://bucket/train-*.tfrecord"): str that begins
            with /, ./, ../ or ~ or has ://, or pathlib.Path;
            a list or an array of paths of image files;
            a table of them, a frame or {"path": [...], "label": [...]}, or the path of one that
            ends with .csv, .tsv, .jsonl or .ndjson, see `sogclr_tf.ManifestSource`;
            the name of a TFDS data set, such as "cifar10" (its train split);
            a `sogclr_tf.Source`.
        batch_size: B, over all replicas; at least 2, at most the number of images.
        policy: how the first view is drawn and, unless `policy_b` is given, the second; one of
            a `sogclr_tf.Policy`, by default SimCLR's for images of this size, without blur, and
            without changes of color where there are not 3 channels;
            the name of a method in `sogclr_tf.data.policies`, for both views of images of one size;
            a function (image, seed) -> view of TensorFlow's operations, where image is uint8, or
            float in 0..1, [H, W, C], seed is int64 [2], for `tf.image.stateless_*`, and view is
            uint8 or float in 0..1 [h, w, C], whose h and w are always the same. A float view
            outside 0..1, or with NaN, stops the stream.
        policy_b: of the second view, a `Policy` or a function.
        seed: int in [0, 2**31), of the order and of every random choice.
        data_dir: where TFDS keeps its data, if `images` is a name.
        channels: C of the images as they are trained on; by default their own, but 3 for gray,
            which is repeated. 1 keeps gray as one.
        value_range: (low, high), the stored values that are black and white, such as (0, 4095);
            by default the whole range of uint8 and uint16, and 0..1 of floats. Views of images
            with 8 bits are uint8, others float32, which keeps all levels.
        on_error: what becomes of images that cannot be decoded: "raise" stops the training that
            comes to one, with its name; "skip" leaves them out, as
            `sogclr_tf.data.sources.readable.readable` does, before the training. Likewise with
            examples that are known to be unusable before, the source's `faults`.
        service: address of the dispatcher of a tf.data service, "grpc://host:port", whose workers
            are to make the views. They need to reach the images by the same paths. Views and
            indices stay what they are without it; the order in which they come, and which examples
            fill no batch, are then not the same in every run.
        finish: where the views are finished, after they were cropped and resized. "host": here.
            "device": by the step of `SogCLR`, which flips, changes colors, blurs and solarizes a
            batch at once on the device that trains, and relieves the processor of most of its work:
            for GPUs and TPUs that wait for images. A batch then has views that are cropped and
            resized alone, and "view_a_changes" and "view_b_changes", by which
            `sogclr_tf.finished(batch)` finishes them in a step of your own. The same views, within
            a level of 8 bits.

    Returns:
        `Views`.

    Raises:
        ValueError: an argument is out of range, or the images cannot be used. A float image outside
            0..1 that no check found beforehand stops the stream that comes to it; `fit` raises a
            ValueError that names it.
        FileNotFoundError: there is no such folder, table or file.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> images = np.zeros([100, 32, 32, 3], np.uint8)
        >>> views = sogclr_tf.training_views(images, batch_size=32)
        >>> views.num_examples, views.steps_per_epoch
        (100, 3)
        >>> batch = next(iter(views.stream()))
        >>> sorted(batch), batch["view_a"].shape
        (['index', 'view_a', 'view_b'], TensorShape([32, 32, 32, 3]))
    """
    source = stream_arguments.checked_source(
        images, data_dir, on_error, channels=channels, value_range=value_range
    )
    stream_arguments.check_batch(source, batch_size, seed)
    policy_a, policy_b = _pair(policy, policy_b, source)
    stream_arguments.check_finish(finish, (policy_a, policy_b))
    if service:
        data_service.check_address(service)
        data_service.check_source(source)
    return Views(
        source=source,
        batch_size=int(batch_size),
        policy_a=policy_a,
        policy_b=policy_b,
        seed=int(seed),
        service=service or None,
        finish=finish,
    )


def _pair(
    policy: Policy | str | Callable | None, policy_b: Policy | Callable | None, source: Source
) -> tuple[Policy | Callable, Policy | Callable]:
    """How the first and the second view are drawn."""
    if isinstance(policy, str):
        if policy_b is not None:
            raise ValueError(
                f"policy '{policy}' stands for both views: leave policy_b out, or replace one of "
                "the two that sogclr_tf.data.policies.by_name gives"
            )
        pair = policies.by_name(policy, stream_arguments.default_side(source))
    else:
        policy = policy or stream_arguments.default_policy(source)
        pair = (policy, policy_b or policy)
    for one in pair:
        stream_arguments.check_policy(one, source)
    return pair
