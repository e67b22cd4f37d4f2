"""The training stream: a function of (seed, step) alone, that visits every example alike."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from support import processes
from support.files import write_folder, write_shards
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf import Policy, training_views
from sogclr_tf.data import augment, policies
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.randomness import draws, seeds

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
N, BATCH = 22, 4
COLORFUL = Policy(size=6, blur=0.3, solarize=0.2)
# Quick to trace, where colors are of no interest.
PLAIN = Policy(size=6, jitter=0, grayscale=0)


def images(count=N, height=8, width=7):
    shape = (count, height, width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def views(collection=None, **options):
    collection = images() if collection is None else collection
    return training_views(collection, **{"batch_size": BATCH, "policy": PLAIN, **options})


def take(stream, count=None):
    return list((stream if count is None else stream.take(count)).as_numpy_iterator())


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key])


def indices(batches):
    return [int(index) for batch in batches for index in batch["index"]]


TRACED = pytest.mark.slow(reason="the same code on another source, traced anew")


@pytest.fixture(
    params=[
        "array",
        *(pytest.param(name, marks=TRACED) for name in ("folder", "dataset", "tfrecords", "tfds")),
    ]
)
def stream_views(request, tmp_path):
    if request.param == "tfds":
        folder = request.getfixturevalue("data_dir")
        return views(sogclr_tf.TfdsSource("cifar10", "train[49%:51%]", folder), batch_size=300)
    if request.param == "dataset":
        return views(tf.data.Dataset.from_tensor_slices(images()))
    if request.param == "folder":
        return views(write_folder(tmp_path, images()))
    if request.param == "tfrecords":
        return views(write_shards(tmp_path, images(), np.zeros(N)))
    return views()


class TestStream:
    def test_elements(self):
        made = views(policy_b=Policy(size=5, jitter=0, grayscale=0))
        want = {
            "view_a": tf.TensorSpec([BATCH, 6, 6, 3], tf.uint8),
            "view_b": tf.TensorSpec([BATCH, 5, 5, 3], tf.uint8),
            "index": tf.TensorSpec([BATCH], tf.int32),
        }
        assert made.epoch(0).element_spec == want
        assert made.stream().element_spec == want
        for batch in take(made.epoch(0)):
            for key in ("view_a", "view_b"):
                assert batch[key].max() > 200

    def test_an_epoch_visits_each_at_most_once_and_leaves_out_others_each_time(self, stream_views):
        made = stream_views
        steps = made.source.size // made.batch_size
        assert made.steps_per_epoch == steps
        batches = take(made.stream(), 3 * steps)
        visits = set()
        for epoch in range(3):
            visited = indices(batches[epoch * steps : (epoch + 1) * steps])
            assert len(set(visited)) == steps * made.batch_size
            assert 0 <= min(visited) <= max(visited) < made.num_examples
            visits.add(frozenset(visited))
        assert len(visits) == 3

    def test_every_example_is_visited_in_the_end(self):
        made = views()
        counts = np.bincount(indices(take(made.stream(), 40 * made.steps_per_epoch)), minlength=N)
        assert counts.min() >= 28
        assert counts.max() <= 40

    def test_all_examples_of_an_epoch_are_its_own_and_those_that_fill_no_batch(self):
        stream = views()
        every = take(stream.all_examples(3))
        assert sorted(example["index"] for example in every) == list(range(N))
        for place, batch in enumerate(take(stream.epoch(3))):
            for row in range(BATCH):
                example = every[place * BATCH + row]
                for key, values in batch.items():
                    np.testing.assert_array_equal(example[key], values[row])

    @pytest.mark.slow(reason="streams begun at every step")
    def test_starts_anywhere(self, stream_views):
        steps = stream_views.steps_per_epoch
        whole = take(stream_views.stream(), 2 * steps + 1)
        for first in (1, steps + 1):
            assert_same(take(stream_views.stream(first), 2 * steps + 1 - first), whole[first:])
        assert_same(take(stream_views.epoch(1)), whole[steps : 2 * steps])
        assert int(stream_views.epoch(1).cardinality()) == steps

    def test_what_is_behind_is_not_read_again(self, tmp_path):
        made = views(write_folder(tmp_path, images()))
        whole = take(made.epoch(0))
        for index in indices(whole[:3]):
            pathlib.Path(made.source.locate(index)).unlink()
        assert_same(take(made.stream(3), 2), whole[3:])

    def test_iterates_alike_again(self):
        epoch = views().epoch(2)
        assert_same(take(epoch), take(epoch))

    def test_seed_changes_order_and_pixels(self):
        first, second = (take(views(seed=seed).epoch(0)) for seed in (0, 1))
        assert indices(first) != indices(second)
        assert set(indices(first)) != set(indices(second))

    def test_the_largest_seed(self):
        assert len(take(views(seed=2**31 - 1).epoch(0))) == N // BATCH

    def test_threads_do_not_matter(self, stream_views):
        epoch = dataclasses.replace(stream_views, policy_a=COLORFUL).epoch(1)
        results = []
        for threads in (1, 7):
            options = tf.data.Options()
            options.threading.private_threadpool_size = threads
            options.threading.max_intra_op_parallelism = threads
            results.append(take(epoch.with_options(options)))
        assert_same(*results)

    def test_global_seed_neither_matters_nor_changes(self, stream_views):
        results = []
        for seed in (1, 2):
            tf.random.set_seed(seed)
            expected = tf.random.uniform([3]).numpy()
            tf.random.set_seed(seed)
            results.append(take(stream_views.epoch(1)))
            np.testing.assert_array_equal(tf.random.uniform([3]), expected)
        assert_same(*results)


class TestIndexStability:
    """The same image has the same index, whichever way leads to it."""

    WHOLE = Policy(size=8, min_area=1, max_aspect=1, flip=0, jitter=0, grayscale=0)

    def images_by_index(self, source, seed, hosts=1):
        """{index: bytes of the image} of a pass of each host through its share of an epoch."""
        made = training_views(source, batch_size=BATCH, policy=self.WHOLE, seed=seed)
        found = {}
        for host in range(hosts):
            context = tf.distribute.InputContext(hosts, host, hosts)
            for batch in take(made.stream(0, context), made.steps_per_epoch):
                views = zip(batch["index"], batch["view_a"], strict=True)
                share = {int(index): view.tobytes() for index, view in views}
                assert not found.keys() & share.keys()
                found.update(share)
        assert len(found) == made.steps_per_epoch * BATCH
        return found

    @pytest.fixture(
        params=["tfrecords", *(pytest.param(name, marks=TRACED) for name in ("folder", "tfds"))]
    )
    def source(self, request, tmp_path):
        pictures = images(60, 8, 8)
        if request.param == "folder":
            return sogclr_tf.FolderSource(write_folder(tmp_path, pictures))
        if request.param == "tfrecords":
            return sogclr_tf.TFRecordSource(
                write_shards(tmp_path, pictures, np.zeros(60), shards=5)
            )
        return sogclr_tf.TfdsSource("cifar10", "test[1%:2%]", request.getfixturevalue("data_dir"))

    @pytest.mark.slow(reason="several passes of several hosts")
    def test_whatever_the_order_and_the_workers(self, source):
        policy = self.WHOLE
        rows = draws(0, 0, 0)
        fixed = source.images_and_labels()[0].map(lambda x: augment.view(x, rows[0], policy))
        order = [int(example["index"]) for example in source.examples()]
        truth = {i: v.tobytes() for i, v in zip(order, fixed.as_numpy_iterator(), strict=True)}
        assert len(set(truth.values())) == source.size
        for seed, hosts in ((0, 1), (1, 1), (2, 2)):
            found = self.images_by_index(source, seed, hosts)
            assert found.items() <= truth.items()

    @pytest.mark.slow(reason="a network, or data, of full size")
    def test_whatever_the_slice(self, data_dir):
        whole = sogclr_tf.TfdsSource("cifar10", "test", data_dir)
        truth = {int(e["index"]): e["image"].numpy() for e in whole.examples(1).take(10_000)}
        for split in ("test[50%:]", "test[:1%]", "test[37%:38%]"):
            part = sogclr_tf.TfdsSource("cifar10", split, data_dir)
            found = {int(e["index"]): e["image"].numpy() for e in part.examples(2)}
            assert len(found) == part.size
            assert found.items() <= truth.items()


def own_view(image, seed):
    """A user's augmentation: a crop, and noise."""
    crop = tf.image.stateless_random_crop(augment.as_float(image), [5, 4, 3], seed)
    return tf.clip_by_value(crop + tf.random.stateless_normal([5, 4, 3], seed, 0, 0.1), 0, 1)


class TestOwnFunction:
    def test_a_view_is_the_function_of_image_and_seed(self):
        pictures = images()
        made = views(seed=3, policy=own_view)
        for batch in take(made.epoch(2)):
            for place, index in enumerate(batch["index"]):
                own = seeds(3, 2, index)
                for view, seed in zip(("view_a", "view_b"), own, strict=True):
                    want = own_view(tf.constant(pictures[index]), seed)
                    np.testing.assert_array_equal(batch[view][place], want)

    def test_neither_start_nor_batch_size_nor_threads_matter(self):
        made = views(policy=own_view)
        whole = take(made.stream(), 7)
        assert_same(take(made.stream(3), 4), whole[3:])
        options = tf.data.Options()
        options.threading.private_threadpool_size = 1
        assert_same(take(made.stream().with_options(options), 7), whole)
        small = views(policy=own_view, batch_size=2)
        seen = {
            int(i): v
            for b in take(small.epoch(0))
            for i, v in zip(b["index"], b["view_b"], strict=True)
        }
        for batch in take(made.epoch(0)):
            for index, view in zip(batch["index"], batch["view_b"], strict=True):
                np.testing.assert_array_equal(view, seen[int(index)])

    def test_beside_a_policy(self):
        """The function changes nothing of the other view."""
        alone, after_step = views(policy=COLORFUL), views(policy=COLORFUL, policy_b=own_view)
        for one, other in zip(take(alone.epoch(0)), take(after_step.epoch(0)), strict=True):
            np.testing.assert_array_equal(one["view_a"], other["view_a"])
            assert other["view_b"].shape == (BATCH, 5, 4, 3)

    def test_uint8(self):
        made = views(
            policy=lambda image, seed: tf.image.stateless_random_crop(image, [4, 4, 3], seed)
        )
        view = take(made.epoch(0))[0]["view_a"]
        assert view.dtype == np.uint8
        assert view.max() > 230

    def test_images_of_differing_sizes(self, tmp_path):
        folder = write_folder(tmp_path, images())
        made = views(folder, policy=own_view)
        assert take(made.epoch(0))[0]["view_a"].shape == (BATCH, 5, 4, 3)

    def test_samples(self):
        originals, views_a, views_b = views(policy=own_view).samples(3)
        assert len(originals) == len(views_a) == len(views_b) == 3
        assert views_a[0].shape == (5, 4, 3)
        assert (views_a[0] != views_b[0]).any()

    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (lambda image, seed: image[: seed[0] % 3 + 1], "of a size known beforehand"),
            (lambda image, _: image[..., 0], "expected one view \\[h, w, C\\]"),
            (lambda image, _: (image, image), "expected one view"),
            (lambda image, _: tf.cast(image, tf.int32), "gives int32: expected uint8 or float"),
        ],
    )
    def test_a_function_that_makes_no_view_is_told_before_training(self, function, message):
        with pytest.raises(ValueError, match=message):
            views(policy=function)


class TestViews:
    def test_pixels_are_those_of_seed_epoch_index_and_view(self):
        pictures = images()
        made = views(seed=3, policy=COLORFUL, policy_b=Policy(size=6, min_area=0.5, jitter=0))
        for batch in take(made.epoch(2)):
            for place, index in enumerate(batch["index"]):
                rows = draws(3, 2, index)
                view_a = augment.view(pictures[index], rows[0], made.policy_a)
                view_b = augment.view(pictures[index], rows[1], made.policy_b)
                np.testing.assert_array_equal(batch["view_a"][place], view_a)
                np.testing.assert_array_equal(batch["view_b"][place], view_b)

    def test_neither_batch_size_nor_company_matters(self):
        def by_index(made):
            return {
                int(index): view.tobytes()
                for batch in take(made.epoch(0))
                for index, view in zip(batch["index"], batch["view_a"], strict=True)
            }

        small, large = (by_index(views(batch_size=size, policy=COLORFUL)) for size in (2, 11))
        assert small == large

    @pytest.mark.parametrize("first_step", [3, pytest.param(0, marks=AGAIN)])
    def test_hosts_share_every_batch(self, first_step):
        """Two hosts of one replica each, side by side, have the batches of one host."""
        made = views()
        whole = take(made.stream(first_step), 7)
        hosts = [
            take(made.stream(first_step, tf.distribute.InputContext(2, host, 2)), 7)
            for host in range(2)
        ]
        for step, batch in enumerate(whole):
            for key, want in batch.items():
                np.testing.assert_array_equal(
                    np.concatenate([host[step][key] for host in hosts]), want
                )

    def test_a_host_decodes_its_share_alone(self):
        decoded = set()

        class Watched(sogclr_tf.ArraySource):
            def decode(self, image):
                tf.py_function(lambda color: decoded.add(int(color)), [image[0, 0, 0]], [])
                return super().decode(image)

        # The color of an image says which it is; an epoch is longer than the pipeline runs ahead.
        numbered = np.arange(240, dtype=np.uint8)[:, np.newaxis, np.newaxis, np.newaxis]
        made = views(Watched(np.tile(numbered, [1, 8, 7, 3])))
        first, second = (tf.distribute.InputContext(2, host, 2) for host in range(2))
        others = {i for batch in take(made.stream(0, first), 60) for i in batch["index"]}
        decoded.clear()
        take(made.stream(0, second).take(4))
        assert len(decoded) >= 4 * BATCH // 2
        assert not decoded & others

    def test_policies(self):
        made = views()
        assert made.policy_a is made.policy_b is PLAIN
        other = Policy(size=5)
        made = views(policy_b=other)
        assert (made.policy_a, made.policy_b) == (PLAIN, other)

    def test_policies_by_name(self):
        made = views(policy="byol")
        assert (made.policy_a, made.policy_b) == policies.byol(7)
        with pytest.raises(ValueError, match="unknown policy 'moco': choose one of simclr"):
            views(policy="moco")
        with pytest.raises(ValueError, match="policy 'byol' stands for both views: leave policy_b"):
            views(policy="byol", policy_b=PLAIN)

    def test_something_else_in_place_of_a_policy(self):
        with pytest.raises(ValueError, match=r"policy is 32: expected a sogclr_tf.Policy"):
            views(policy_b=32)

    def test_default_policy(self):
        assert views(policy=None).policy_a == Policy(size=7)

    def test_images_of_differing_sizes(self):
        pictures = [images()[0, : 3 + k] for k in range(5)]
        data = tf.data.Dataset.from_generator(
            lambda: iter(pictures), output_signature=tf.TensorSpec([None, 7, 3], tf.uint8)
        )
        assert take(views(data).epoch(0))[0]["view_a"].shape == (BATCH, 6, 6, 3)
        with pytest.raises(ValueError, match=r"differ in size: .*Policy\(size=\.\.\.\)"):
            views(data, policy=None)

    def test_samples(self):
        made = views()
        originals, views_a, views_b = made.samples(5)
        batches = take(made.epoch(0), 2)
        for key, got in (("view_a", views_a), ("view_b", views_b)):
            np.testing.assert_array_equal(got, np.concatenate([b[key] for b in batches])[:5])
        np.testing.assert_array_equal(originals, images()[indices(batches)[:5]])

    def test_samples_of_a_small_collection(self):
        assert [len(column) for column in views(images(5)).samples(9)] == [4, 4, 4]

    def test_a_named_set(self, data_dir):
        made = training_views("cifar10", batch_size=128, data_dir=data_dir)
        assert (made.num_examples, made.steps_per_epoch) == (50_000, 390)
        assert made.policy_a == Policy(size=32)


class TestErrors:
    @pytest.mark.parametrize("wrong", [1, 0, -4, 2.5])
    def test_batch_size(self, wrong):
        with pytest.raises(
            ValueError, match=f"batch_size is {wrong}: expected a whole number >= 2"
        ):
            views(batch_size=wrong)

    def test_batch_larger_than_the_set(self):
        with pytest.raises(ValueError, match="the array has 22 examples, fewer than batch_size 23"):
            views(batch_size=23)

    @pytest.mark.parametrize("wrong", [-1, 2**31, 0.5])
    def test_seed(self, wrong):
        with pytest.raises(ValueError, match=rf"seed is {wrong}: .* number in \[0, 2\*\*31\)"):
            views(seed=wrong)

    def test_first_step(self):
        with pytest.raises(ValueError, match="first_step is -1: the first step of training is 0"):
            views().stream(-1)

    def test_missing_data_dir(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            views("cifar10", data_dir=tmp_path / "nowhere")

    def test_data_dir_without_a_name(self, tmp_path):
        with pytest.raises(ValueError, match="is for the name of a TFDS set: leave it out"):
            views(data_dir=tmp_path)


class TestEvaluationSet:
    def test_middle_squares_in_order_with_labels(self):
        labels = np.arange(N) % 3
        pictures, got = evaluation_set(sogclr_tf.ArraySource(images(), labels), 7)
        assert pictures.element_spec == tf.TensorSpec([7, 7, 3], tf.float32)
        assert int(pictures.cardinality()) == N
        assert_close(take(pictures), images()[:, :7] / 255, terms=4)
        np.testing.assert_array_equal(got, labels)

    def test_without_labels(self):
        pictures, labels = evaluation_set(sogclr_tf.ArraySource(images()), 4)
        assert labels is None
        assert all(picture.shape == (4, 4, 3) for picture in pictures)


PHOTOGRAPHS = """
import os
import sys

# Each thread decodes, so that memory grows with them.
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])

import numpy as np
import tensorflow as tf

import sogclr_tf


class Frame:
    columns = ["path"]

    def __getitem__(self, column):
        return np.array(paths, object)


def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


folder, kind = sys.argv[1:]
paths = [f"{folder}/{k:03}.jpg" for k in range(200)]
images = {"folder": folder, "list": paths, "frame": Frame()}[kind]
before = peak()
views = sogclr_tf.training_views(images, batch_size=64, policy=sogclr_tf.Policy(size=224))
for batch in views.epoch(0).take(2):
    assert batch["view_a"].shape == (64, 224, 224, 3)
middle = peak() - before
squares, _ = sogclr_tf.evaluation_set(views.source, 224)
assert len(list(squares.batch(32).take(2))) == 2
print("MiB", middle, peak() - before)
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """200 photographs of 12 megapixels, links to two files."""
    from sklearn.datasets import load_sample_images

    folder = tmp_path_factory.mktemp("photographs")
    small = load_sample_images().images
    large = [tf.cast(tf.image.resize(image, [3000, 4000]), tf.uint8) for image in small]
    encoded = [tf.io.encode_jpeg(image, quality=92).numpy() for image in large]
    for k in range(200):
        path = folder / f"{k:03}.jpg"
        if k < len(encoded):
            path.write_bytes(encoded[k])
        else:
            path.hardlink_to(folder / f"{k % len(encoded):03}.jpg")
    return folder


@pytest.mark.slow(reason="large photographs, a process for each kind")
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory as Linux tells it")
@pytest.mark.parametrize("kind", ["folder", "list", "frame"])
def test_photographs_take_little_memory(kind, photographs):
    """Each thread holds one that is decoded; none waits in a buffer, and none is all floats."""
    process = processes.run("-c", PHOTOGRAPHS, str(photographs), kind)
    assert process.returncode == 0, process.stderr
    training, both = map(float, process.stdout.split("MiB")[1].split())
    assert training < 600
    assert both < 600
