"""Images per second of the training stream, by the kind of file that holds the images."""

import pathlib
import tempfile

import numpy as np
import sklearn.datasets
import tensorflow as tf
from benchmarks.input import BATCH, measure, table

import sogclr_tf
from sogclr_tf.data.policies import bands

# Files of each kind; the pictures in them are few, as only the bytes are to be read.
COUNT, PICTURES = 512, 16
FOLDER = "JPEG, folder"
POLICY = sogclr_tf.Policy(224, jitter=0, grayscale=0)


def add_arguments(parser):
    parser.description = (
        "Two crops of 224x224, flipped, of images of 427x640: JPEG files in a folder, in a list of "
        "paths and in TFRecords; the same pixels as PNG, TIFF and .npy files; and 13 bands of 16 "
        "bits, 128x128, as TIFF and .npy. tifffile and imagecodecs must be installed."
    )
    parser.add_argument("--kinds", nargs="+", help='some alone, such as "TIFF" ".npy"')
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of every turn")


def run(options):
    with tempfile.TemporaryDirectory() as folder:
        made = contenders(pathlib.Path(folder))
        if options.kinds:
            made = {name: made[name] for name in (FOLDER, *options.kinds)}
        speeds = measure(made, options.rounds, options.seconds)
    return {"batch": BATCH, "kinds": speeds}, table("files", speeds, [FOLDER])


def contenders(folder):
    """{name: an endless data set of batches of BATCH images}, what all are compared to first."""
    photographs = pictures()
    writers = {"PNG": png, "TIFF": tiff(), "TIFF, LZW": tiff("lzw"), ".npy": npy}
    jpegs = written(folder / "jpeg", ".jpg", photographs, jpeg)
    paths = sorted(map(str, jpegs.iterdir()))
    found = {
        FOLDER: stream(sogclr_tf.FolderSource(jpegs)),
        "JPEG, list of paths": stream(sogclr_tf.ManifestSource(paths)),
        "JPEG, TFRecords": stream(sogclr_tf.TFRecordSource(records(folder, paths))),
    }
    for name, writer in writers.items():
        place = written(folder / name.replace(".", ""), suffix(name), photographs, writer)
        found[name] = stream(sogclr_tf.FolderSource(place))
    scenes = many_bands(photographs)
    for name, writer in (("13 bands, TIFF, deflate", tiff("zlib")), ("13 bands, .npy", npy)):
        place = written(folder / name.replace(".", ""), suffix(name), scenes, writer)
        source = sogclr_tf.FolderSource(place, value_range=(0, 4095))
        found[name] = stream(source, bands(224)[0])
    return found


def stream(source, policy=POLICY):
    return sogclr_tf.training_views(source, batch_size=BATCH, policy=policy).stream()


def pictures():
    """The two photographs and their mirror images, shifted: uint8 [PICTURES, 427, 640, 3]."""
    photographs = sklearn.datasets.load_sample_images().images
    turned = [image[:, ::step] for image in photographs for step in (1, -1)]
    shifts = PICTURES // len(turned)
    return np.stack([np.roll(image, 40 * k, axis=1) for image in turned for k in range(shifts)])


def many_bands(photographs):
    """13 bands of 12 bits, mixed of colors: uint16 [PICTURES, 128, 128, 13]."""
    mixture = np.random.default_rng(0).dirichlet([1, 1, 1], 13).T
    return (photographs[:, :128, :128] @ mixture * (4095 / 255)).astype(np.uint16)


def written(folder, suffix, images, write):
    """A folder of COUNT files, links to those of few pictures."""
    folder.mkdir()
    for number in range(COUNT):
        path = folder / f"{number:04}{suffix}"
        if number < len(images):
            write(path, images[number])
        else:
            path.hardlink_to(folder / f"{number % len(images):04}{suffix}")
    return folder


def records(folder, paths):
    path = str(folder / "part.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for name in paths:
            content = tf.train.BytesList(value=[pathlib.Path(name).read_bytes()])
            features = tf.train.Features(
                feature={"image/encoded": tf.train.Feature(bytes_list=content)}
            )
            writer.write(tf.train.Example(features=features).SerializeToString())
    return path


def suffix(name):
    return ".npy" if ".npy" in name else ".png" if name == "PNG" else ".tif"


def jpeg(path, image):
    path.write_bytes(tf.io.encode_jpeg(image, quality=90).numpy())


def png(path, image):
    path.write_bytes(tf.io.encode_png(image).numpy())


def npy(path, image):
    np.save(path, image)


def tiff(compression=None):
    import tifffile

    def write(path, image):
        kind = "rgb" if image.shape[-1] == 3 else "minisblack"
        tifffile.imwrite(
            path, image, photometric=kind, planarconfig="contig", compression=compression
        )

    return write
