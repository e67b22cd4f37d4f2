"""Images per second of the training stream, beside SimCLR's pipeline written plainly."""

import dataclasses
import pathlib
import statistics
import time

import numpy as np
import sklearn.datasets
import tensorflow as tf
from benchmarks import report

import sogclr_tf
from sogclr_tf.data.sources.encoded import EncodedSource

BATCH = 128
PLAIN, DECODING, WHOLE = "tf.image", "decoding alone", "all: sogclr_tf"
PHOTOGRAPHS = ("china.jpg", "flower.jpg")


def add_arguments(parser):
    parser.description = (
        "Two views of each image: 32x32 in memory, with crop, flip, jitter, gray; and 224x224 of "
        "JPEG files of 427x640, with a blur of every second view too. Beside it the same by "
        "tf.image, one operation after another; decoding alone, which no pipeline can outrun; and "
        "the stream with its stages added one by one, which tells where the time goes; and what is "
        "left of it where the device finishes the views."
    )
    parser.add_argument("--size", type=int, choices=[32, 224], help="one of the two alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of every turn")


def run(options):
    found, tables = {}, []
    for size in [options.size] if options.size else [32, 224]:
        speeds = measure(contenders(size), options.rounds, options.seconds)
        found[size] = speeds
        tables.append(table(f"{size}x{size}, two views", speeds))
    return {"batch": BATCH, "sizes": found}, "\n".join(tables)


class Files(EncodedSource):
    """scikit-learn's two photographs of 427x640 pixels, as JPEG files in memory, many times."""

    def __init__(self, size):
        super().__init__("the photographs", size, image_size=(427, 640))
        folder = pathlib.Path(sklearn.datasets.__file__).parent / "images"
        self.files = tf.constant([(folder / name).read_bytes() for name in PHOTOGRAPHS])

    def examples(self, seed=None, first=0):
        del seed  # the order costs nothing here, as the files lie in memory
        rows = tf.data.Dataset.range(first, self.size)
        return rows.map(
            lambda row: {
                "image": self.files[row % len(PHOTOGRAPHS)],
                "index": tf.cast(row, tf.int32),
            }
        )


def small_images(count):
    """Real images of 32x32: parts of the two photographs, scaled down. uint8 [count, 32, 32, 3]."""
    rng = np.random.default_rng(0)
    photographs = [image[::3, ::3] for image in sklearn.datasets.load_sample_images().images]
    places = rng.integers(0, [2, 142 - 32, 213 - 32], [count, 3])
    return np.stack([photographs[k][y : y + 32, x : x + 32] for k, y, x in places])


class PlainSimCLR:
    """SimCLR's augmentation as its paper tells it, by tf.image's own operations.

    What a user would write: each view of each image for itself, in float32 from the start, random
    numbers from the global generator, a box from `sample_distorted_bounding_box`.
    """

    def __init__(self, size, strength, blur):
        self.size, self.strength, self.blur = size, strength, blur

    def views(self, image):
        image = tf.image.convert_image_dtype(image, tf.float32)
        return self.view(image), self.view(image)

    def view(self, image):
        image = tf.image.random_flip_left_right(self.crop(image))
        image = sometimes(0.8, self.jitter, image)
        image = sometimes(0.2, gray, image)
        if self.blur:
            image = sometimes(self.blur, self.smooth, image)
        return tf.clip_by_value(image, 0.0, 1.0)

    def crop(self, image):
        start, extent, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(image),
            tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            min_object_covered=0.1,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            max_attempts=100,
        )
        part = tf.slice(image, start, tf.concat([extent[:2], [3]], 0))
        resized = tf.image.resize(part, [self.size, self.size], method="bicubic")
        return tf.ensure_shape(resized, [self.size, self.size, 3])

    def jitter(self, image):
        order = tf.random.shuffle(tf.range(4))
        for position in range(4):
            image = tf.clip_by_value(self.one_jitter(image, order[position]), 0.0, 1.0)
        return image

    def one_jitter(self, image, number):
        amount = 0.8 * self.strength
        return tf.switch_case(
            number,
            [
                lambda: image * tf.random.uniform([], max(0.0, 1 - amount), 1 + amount),
                lambda: tf.image.random_contrast(image, 1 - amount, 1 + amount),
                lambda: tf.image.random_saturation(image, 1 - amount, 1 + amount),
                lambda: tf.image.random_hue(image, 0.2 * self.strength),
            ],
        )

    def smooth(self, image):
        radius = self.size // 20
        sigma = tf.random.uniform([], 0.1, 2.0)
        weights = tf.exp(-(tf.range(-radius, radius + 1, dtype=tf.float32) ** 2) / (2 * sigma**2))
        weights = tf.tile((weights / tf.reduce_sum(weights))[:, None, None, None], [1, 1, 3, 1])
        batch = image[None]
        for kernel in (weights, tf.transpose(weights, [1, 0, 2, 3])):
            batch = tf.nn.depthwise_conv2d(batch, kernel, [1, 1, 1, 1], "SAME")
        return batch[0]


def sometimes(probability, operation, image):
    return tf.cond(
        tf.random.uniform([]) < probability, lambda: operation(image), lambda: tf.identity(image)
    )


def gray(image):
    return tf.tile(tf.image.rgb_to_grayscale(image), [1, 1, 3])


def contenders(size):
    """{name: an endless data set of batches of BATCH images}, what all are compared to first."""
    if size == 32:
        source, strength, blur = sogclr_tf.ArraySource(small_images(4096)), 0.5, 0.0
    else:
        source, strength, blur = Files(4096), 1.0, 0.5
    images = source.examples().repeat().map(lambda example: example["image"])
    plain = PlainSimCLR(size, strength, blur)
    found = {PLAIN: batches(images, lambda image: plain.views(source.decode(image)))}
    if size == 224:
        found[DECODING] = batches(images, source.decode)
    stages = {"crop, resize, flip": sogclr_tf.Policy(size, jitter=0, grayscale=0)}
    if blur:
        stages["+ color"] = sogclr_tf.Policy(size, strength=strength)
    stages[WHOLE] = sogclr_tf.Policy(size, strength=strength, blur=blur)
    views = {
        name: sogclr_tf.training_views(source, batch_size=BATCH, policy=policy)
        for name, policy in stages.items()
    }
    finished = views[WHOLE]
    views["the same, finished on the device"] = dataclasses.replace(finished, finish="device")
    return found | {name: stream.stream() for name, stream in views.items()}


def batches(dataset, function):
    mapped = dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE)
    return mapped.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def measure(made, rounds, seconds):
    """{contender: [images per second of each round]}."""
    speeds = {name: [] for name in made}
    for _ in range(rounds):
        for name, dataset in made.items():
            speeds[name].append(speed(dataset, seconds))
    return speeds


def speed(dataset, seconds):
    """Images per second, after a start that is not counted."""
    iterator = iter(dataset)
    for _ in range(3):
        next(iterator)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        next(iterator)
        count += BATCH
    return count / (time.perf_counter() - began)


def table(title, speeds, bases=(PLAIN, DECODING)):
    """Medians, spread, milliseconds per image, ratios to the contenders of `bases`; as Markdown."""
    middles = {name: statistics.median(values) for name, values in speeds.items()}
    bases = [name for name in bases if name in speeds]
    rows = [
        [
            name,
            f"{middles[name]:,.0f}",
            f"{min(values):,.0f} to {max(values):,.0f}",
            f"{1000 / middles[name]:.3f}",
            *(f"{middles[name] / middles[base]:.2f}" for base in bases),
        ]
        for name, values in speeds.items()
    ]
    columns = [title, "img/s", "least to most", "ms per image", *(f"to {base}" for base in bases)]
    return report.table(columns, rows)
