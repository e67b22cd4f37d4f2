"""Photographs as cameras make them: what decoding them at JPEG's own scales saves and changes.

scikit-learn's two photographs of 427x640 pixels are cut to 4:3 and enlarged by Pillow's Lanczos
filter; above 0.3 megapixels gray noise of 3 levels is added, as of a sensor, which gives the files
a camera's size. They are stored at JPEG quality 90.
"""

import pathlib
import statistics
import tempfile
import time

import numpy as np
import sklearn.datasets
import tensorflow as tf
from benchmarks import children, memory, report
from benchmarks.camera import FILES, SIZES, jpeg, photograph, written
from PIL import Image

import sogclr_tf
from sogclr_tf.data import augment, randomness
from sogclr_tf.data.evaluation_images import evaluation_set

SIZE = 224
POLICY = sogclr_tf.Policy(SIZE, blur=0.5)
# Views before color, which can be compared pixel by pixel.
PLAIN = sogclr_tf.Policy(SIZE, flip=0, jitter=0, grayscale=0)


class WholeFolder(sogclr_tf.FolderSource):
    """A folder whose photographs are decoded at their own size, as before."""

    reduces = False


SOURCES = {"whole": WholeFolder, "scaled": sogclr_tf.FolderSource}


def add_arguments(parser):
    parser.description = __doc__
    parser.add_argument("--megapixels", type=float, nargs="+", choices=SIZES, default=[*SIZES])
    parts = ["speed", "memory", "distance", "knn"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=16, help="of every turn")
    parser.add_argument("--labeled", type=int, default=400, help="digits to enlarge, for kNN")


def run(options):
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        sizes = sorted(options.megapixels)
        folders = {n: written(pathlib.Path(folder) / f"{n}", n) for n in sizes}
        measures = {
            "speed": lambda: {n: speeds(place, options) for n, place in folders.items()},
            "memory": lambda: peaks(folders),
            "distance": lambda: {n: distances(place) for n, place in folders.items() if n > 1},
            "knn": lambda: children.call("photographs", "knn", count=options.labeled),
        }
        for part in options.parts:
            found[part] = measures[part]()
    return found, "\n".join(TABLES[part](found[part]) for part in options.parts)


def streams(folder, source):
    """{what is read: an endless data set of batches of 2 examples}."""
    views = sogclr_tf.training_views(source(folder), batch_size=2, policy=POLICY).stream()
    images = evaluation_set(source(folder), SIZE)[0].repeat().batch(2)
    return {"two views": views, "evaluation": images}


def speeds(folder, options):
    """{what is read: {way: [(images per second, CPU milliseconds per image) of each round]}}."""
    made = {way: streams(folder / "all", source) for way, source in SOURCES.items()}
    found = {}
    for what in ("two views", "evaluation"):
        iterators = {way: iter(datasets[what]) for way, datasets in made.items()}
        turns = {way: [] for way in made}
        for number in range(options.rounds):
            # Each begins in turn, as one goes on to prefetch while the other is timed.
            for way in list(SOURCES)[:: 1 if number % 2 else -1]:
                turns[way].append(turn(iterators[way], options.images))
        found[what] = turns
    return found


def turn(iterator, images):
    # What waits ready was made before.
    for _ in range(4):
        next(iterator)
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(images // 2):
        next(iterator)
    took, used = time.perf_counter() - began, time.process_time() - spent
    return images / took, 1e3 * used / images


def peaks(folders):
    """{kind of file: {way: {megapixels: MiB at the highest that such files add}}}."""
    found = {}
    for kind in ("all", "progressive"):
        places = [str(folder / kind) for folder in folders.values()]
        found[kind] = {
            way: dict(
                zip(
                    folders,
                    children.call("photographs", "peak", folders=places, way=way),
                    strict=True,
                )
            )
            for way in SOURCES
        }
    return found


def peak(folders, way):
    """MiB that one thread adds to its process which makes views, folder after folder.

    The first are the smallest: they are read twice, and count from the second time on.
    """
    tf.config.threading.set_inter_op_parallelism_threads(1)
    options = tf.data.Options()
    options.autotune.enabled = False
    options.threading.private_threadpool_size = 1
    used = []
    for folder in folders[:1] + folders:
        source = SOURCES[way](folder)
        views = sogclr_tf.training_views(source, batch_size=2, policy=PLAIN)
        for _ in views.stream().with_options(options).take(4):
            pass
        used.append(memory.used()["peak"] / memory.MIB)
    return [most - used[0] for most in used[1:]]


def distances(folder):
    """Levels of 8 bits between ways to make views of the two photographs before color.

    {pair: [mean, greatest]}; "fine" is the whole photograph resized by Pillow, which takes the mean
    of all pixels that one of the view stands for.
    """
    made = {way: plain_views(source(folder / "all")) for way, source in SOURCES.items()}
    made["fine"] = fine_views(folder / "all")
    pairs = [("scaled", "whole"), ("whole", "fine"), ("scaled", "fine")]
    return {
        f"{one}, {other}": [
            float(distance.mean()),
            float(distance.max()),
        ]
        for one, other in pairs
        for distance in [np.abs(made[one] - made[other])]
    }


def plain_views(source):
    """Float32 [FILES, 2, SIZE, SIZE, 3], by the index."""
    views = sogclr_tf.training_views(source, batch_size=FILES, policy=PLAIN)
    batch = next(views.stream().as_numpy_iterator())
    order = np.argsort(batch["index"])
    return np.stack([batch[key][order] for key in ("view_a", "view_b")], 1).astype(np.float32)


def fine_views(folder):
    rows = randomness.draws(0, tf.zeros([FILES], tf.int64), tf.range(FILES))
    images = [Image.open(folder / f"{place:02}.jpg").convert("RGB") for place in range(2)]
    shapes = [images[place % 2].size[::-1] for place in range(FILES)]
    views = np.zeros((FILES, 2, SIZE, SIZE, 3), np.float32)
    for view in range(2):
        boxes = augment.crop_boxes(tf.constant(shapes), rows[:, view], PLAIN).numpy()
        for place, (top, left, height, width) in enumerate(boxes):
            views[place, view] = images[place % 2].resize(
                (SIZE, SIZE), Image.Resampling.BICUBIC, (left, top, left + width, top + height)
            )
    return views


def knn(count, steps=60):
    """Accuracy of kNN over photographs of digits, by how those of either side are decoded.

    An encoder is trained for some steps on scikit-learn's digits, brought to 32x32. `count` others
    are enlarged to 1024x1024; three quarters of them vote.
    """
    tf.keras.utils.set_random_seed(0)
    digits = sklearn.datasets.load_digits()
    images = np.repeat(digits.images.astype(np.float32)[..., None] / 16, 3, -1)
    images = tf.cast(255 * tf.image.resize(images, (32, 32)), tf.uint8).numpy()
    views = sogclr_tf.training_views(images[count:], batch_size=64)
    encoder = sogclr_tf.small_resnet(widths=(16, 32, 64))
    loss = sogclr_tf.GlobalContrastiveLoss(num_examples=views.num_examples)
    model = sogclr_tf.SogCLR(encoder, loss)
    model.compile(optimizer=tf.keras.optimizers.Adam(1e-3))
    model.fit(views, epochs=-(-steps // (len(images[count:]) // 64)), verbose=0)
    return compared(encoder, images[:count], digits.target[:count])


def compared(encoder, images, labels):
    """{who votes, who is asked: accuracy}."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for place, image in enumerate(images):
            large = photograph(image, (1024, 1024), place)
            (folder / f"{place:05}.jpg").write_bytes(jpeg(large))
        features = {
            way: sogclr_tf.extract_features(encoder, evaluation_set(made(folder), 32)[0])
            for way, made in SOURCES.items()
        }
    features["as they were"] = sogclr_tf.extract_features(encoder, images)
    voting = 3 * len(labels) // 4

    def accuracy(bank, query):
        predicted = sogclr_tf.knn_predict(
            bank[:voting], labels[:voting], query[voting:], k=5, num_classes=10
        )
        return float(np.mean(predicted == labels[voting:]))

    return {
        f"{bank}, {query}": accuracy(features[bank], features[query])
        for bank in features
        for query in features
    }


def speed_table(found):
    columns = ["megapixels", "what is read", "img/s whole", "img/s scaled", "ms of CPU whole"]
    columns += ["ms of CPU scaled", "times faster"]
    rows = []
    for size, speed in found.items():
        for what, turns in speed.items():
            rate, used = (
                [statistics.median(turn[place] for turn in turns[way]) for way in SOURCES]
                for place in (0, 1)
            )
            times = statistics.median(
                a[1] / b[1] for a, b in zip(*(turns[way] for way in SOURCES), strict=True)
            )
            cells = [f"{x:,.0f}" for x in rate] + [f"{x:.1f}" for x in used]
            rows.append([f"{size:g}", what, *cells, f"{times:.2f}"])
    return report.table(columns, rows)


def memory_table(found):
    sizes = next(iter(found.values()))["whole"]
    columns = ["MiB that two views take", *(f"{size:g} megapixels" for size in sizes)]
    names = {"all": "baseline", "progressive": "progressive"}
    rows = [
        [f"{names[kind]}, {way}", *(f"{most:.0f}" for most in used.values())]
        for kind, ways in found.items()
        for way, used in ways.items()
    ]
    return report.table(columns, rows)


def distance_table(found):
    columns = ["levels of 8 bits, mean and greatest", *(f"{size:g} megapixels" for size in found)]
    pairs = next(iter(found.values()), {})
    rows = [
        [pair, *(f"{one[pair][0]:.2f}, {one[pair][1]:.0f}" for one in found.values())]
        for pair in pairs
    ]
    return report.table(columns, rows)


def knn_table(found):
    names = sorted({pair.split(", ")[0] for pair in found}, reverse=True)
    rows = [
        [bank, *(f"{100 * found[f'{bank}, {query}']:.1f}%" for query in names)] for bank in names
    ]
    return report.table(["kNN: those that vote", *names], rows)


TABLES = {
    "speed": speed_table,
    "memory": memory_table,
    "distance": distance_table,
    "knn": knn_table,
}
