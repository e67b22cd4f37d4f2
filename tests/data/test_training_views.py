"""The training stream: a function of (seed, step) alone, that visits every example alike."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from support.exhaustive import exhaustive
from support.files import write_folder, write_shards
from support.numerics import assert_close
from support.small_views import BATCH, COLORFUL, N, assert_same, images, indices, take, views

import sogclr_tf
from sogclr_tf import Policy, training_views
from sogclr_tf.data import augment
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.randomness import draws

TRACED = pytest.mark.slow(reason="the same code on another source, traced anew")


OTHERS = exhaustive(["folder", "tfds"], ["folder", "dataset", "tfrecords", "tfds"])


@pytest.fixture(params=["array", *(pytest.param(name, marks=TRACED) for name in OTHERS)])
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
