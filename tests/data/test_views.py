"""Views of the stream: by the policy, or by a function of one's own."""

import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder
from support.small_views import BATCH, COLORFUL, PLAIN, assert_same, images, indices, take, views

import sogclr_tf
from sogclr_tf import Policy, training_views
from sogclr_tf.data import augment, policies
from sogclr_tf.data.randomness import draws, seeds

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")


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
