"""What can hold a collection of images, each made from a generated case.

A kind that is added to `KINDS` takes part in every test of generated cases.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tifffile
from support.files import example, write_records

import sogclr_tf

FLOATS = ("float16", "bfloat16", "float32", "float64")
USABLE = ("uint8", "uint16", "int16", *FLOATS)
UNUSABLE = ("int8", "int32", "uint32", "bool", "complex64")


class Kind(NamedTuple):
    """A way to hold images.

    Attributes:
        make: function of a case and the path of a folder to come that gives the source.
        encoded: whether images are files, which give 1 or 3 channels and may differ in theirs.
        dtypes: of images that it can be made of.
        stored: their numbers of channels.
        lossy: by how many of 255 steps a decoded value may differ from the one that was stored.
        weight: how often it is drawn.
        sizes_differ: whether images may be of several sizes.
        names_classes: whether any label is the name of a class, by which images are sorted.
        numbers_names: whether labels that are text are classes.
        axes_known: whether it says itself which axis is which.
        sees_bits: whether 8 bits are refused where a range is stated that is wider.
    """

    make: Callable
    encoded: bool
    dtypes: tuple[str, ...]
    stored: tuple[int, ...]
    weight: int
    lossy: int = 0
    sizes_differ: bool = True
    names_classes: bool = False
    numbers_names: bool = False
    axes_known: bool = False
    sees_bits: bool = False


def _stated(case):
    return {"channels": case.channels, "value_range": case.value_range}


def _array(case, folder):  # noqa: ARG001
    return sogclr_tf.ArraySource(np.stack(case.images), case.labels, **_stated(case))


def _dataset(case, folder):  # noqa: ARG001
    columns = {"image": case.images}
    if case.labels is not None:
        columns["label"] = case.labels
    if len({image.shape for image in case.images}) == 1:
        columns["image"] = np.stack(case.images)
        dataset = tf.data.Dataset.from_tensor_slices(columns)
    else:
        channels = case.images[0].shape[2:]
        signature = {"image": tf.TensorSpec([None, None, *channels], case.images[0].dtype)}
        if case.labels is not None:
            signature["label"] = tf.TensorSpec([], tf.constant(case.labels).dtype)
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        dataset = tf.data.Dataset.from_generator(lambda: iter(rows), output_signature=signature)
    return sogclr_tf.DatasetSource(dataset, **_stated(case))


def _png(image):
    return tf.io.encode_png(image).numpy()


def _jpeg(image):
    return tf.io.encode_jpeg(image, quality=100, chroma_downsampling=False).numpy()


def _files(case, folder, encode, suffix):
    """Paths in the order of the case, below sub-folders of their labels where there are some."""
    paths = []
    for place, image in enumerate(case.images):
        inside = folder if case.labels is None else folder / str(case.labels[place])
        inside.mkdir(parents=True, exist_ok=True)
        paths.append(inside / f"{place:03}{suffix}")
        paths[-1].write_bytes(encode(image))
    return [str(path) for path in paths]


def _folder_of(encode, suffix):
    def make(case, folder):
        _files(case, folder, encode, suffix)
        return sogclr_tf.FolderSource(folder, **_stated(case))

    return make


def _listed(case, folder):
    paths = _files(case._replace(labels=None), folder, _png, ".png")
    if case.labels is None:
        return sogclr_tf.ManifestSource(paths, **_stated(case))
    table = {"path": paths, "label": case.labels}
    return sogclr_tf.ManifestSource(table, **_stated(case))


def _columns(case, folder):
    paths = _files(case._replace(labels=None), folder, _jpeg, ".jpg")
    columns = {"path": np.array(paths)}
    if case.labels is not None:
        columns["label"] = np.array(case.labels)
    return sogclr_tf.ManifestSource(columns, **_stated(case))


def _records(case, folder):
    features = [{"image__encoded": _png(image)} for image in case.images]
    for feature, label in zip(features, case.labels or [], strict=False):
        feature["label"] = label.encode() if isinstance(label, str) else label
    begin = len(features) // 2
    folder.mkdir(parents=True)
    for number, part in enumerate((features[:begin], features[begin:])):
        records = [example(**feature) for feature in part]
        write_records(folder / f"part-{number}.tfrecord", records)
    label = None if case.labels is None else "label"
    pattern = str(folder / "part-*.tfrecord")
    return sogclr_tf.TFRecordSource(pattern, label=label, **_stated(case))


def _raw_records(case, folder):
    """Sides that each record says, as images may differ in them."""
    records = []
    for place, image in enumerate(case.images):
        sides = dict(zip(("height", "width", "channels"), (*image.shape, 1)[:3], strict=True))
        label = {} if case.labels is None else {"label": case.labels[place]}
        label = {key: x.encode() if isinstance(x, str) else x for key, x in label.items()}
        records.append(example(image__encoded=image.tobytes(), **sides, **label))
    folder.mkdir(parents=True)
    path = str(write_records(folder / "raw.tfrecord", records))
    label = None if case.labels is None else "label"
    form = {"dtype": case.images[0].dtype, "shape": ("height", "width", "channels")}
    return sogclr_tf.TFRecordSource(path, label=label, **form, **_stated(case))


def _npy(image):
    file = io.BytesIO()
    np.save(file, image)
    return file.getvalue()


def _tiff(image):
    file = io.BytesIO()
    image = image[..., np.newaxis] if image.ndim == 2 else image
    rgb, many = image.shape[-1] == 3, image.shape[-1] > 1
    options = {"planarconfig": "contig"} if many else {}
    tifffile.imwrite(
        file,
        image if many else image[..., 0],
        photometric="rgb" if rgb else "minisblack",
        **options,
    )
    return file.getvalue()


def _list_of(encode, suffix):
    def make(case, folder):
        paths = _files(case._replace(labels=None), folder, encode, suffix)
        table = paths if case.labels is None else {"path": paths, "label": case.labels}
        return sogclr_tf.ManifestSource(table, **_stated(case))

    return make


_ANY_CHANNELS = tuple(range(1, 14))
_PNG = {"encoded": True, "dtypes": ("uint8", "uint16"), "stored": (1, 2, 3, 4)}
_JPEG = {"encoded": True, "dtypes": ("uint8",), "stored": (1, 3), "lossy": 3}
KINDS = {
    "array": Kind(_array, False, USABLE + UNUSABLE, _ANY_CHANNELS, 30, sizes_differ=False),
    "tf.data.Dataset": Kind(_dataset, False, USABLE + UNUSABLE, _ANY_CHANNELS, 25),
    "folder of PNG": Kind(_folder_of(_png, ".png"), weight=14, names_classes=True, **_PNG),
    "folder of JPEG": Kind(_folder_of(_jpeg, ".jpg"), weight=8, names_classes=True, **_JPEG),
    "list of PNG": Kind(_listed, weight=8, numbers_names=True, **_PNG),
    "columns of JPEG": Kind(_columns, weight=7, numbers_names=True, **_JPEG),
    "TFRecords of PNG": Kind(_records, weight=8, **_PNG),
    "raw TFRecords": Kind(
        _raw_records, False, USABLE + UNUSABLE, _ANY_CHANNELS, 10, axes_known=True
    ),
    "list of .npy": Kind(
        _list_of(_npy, ".npy"),
        False,
        ("uint8", "uint16", "int16", "float16", "float32", "float64"),
        _ANY_CHANNELS,
        10,
        numbers_names=True,
        sees_bits=True,
    ),
    "list of TIFF": Kind(
        _list_of(_tiff, ".tif"),
        False,
        ("uint8", "uint16", "int16", "float32"),
        (1, 3, 5, 13),
        10,
        numbers_names=True,
        axes_known=True,
        sees_bits=True,
    ),
}
