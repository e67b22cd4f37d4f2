"""Recall and zero-shot classification, checked by hand."""

import numpy as np
import pytest

from sogclr_tf.evaluation import retrieval

# Angles in degrees on a circle: what is nearest is plain to see.
IMAGES, TEXTS = [0, 90, 180, 270], [10, 95, 300, 260]


def circle(degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


class TestRecall:
    def test_by_hand(self):
        """From image 180 the texts are nearest in the order 260, 95, 300, 10: its own is third."""
        found = retrieval.recall(circle(IMAGES), circle(TEXTS), (1, 2, 3))
        assert found.image_to_text == {1: 0.75, 2: 0.75, 3: 1.0}
        # From text 300 the images: 270, 0, 180.
        assert found.text_to_image == {1: 0.75, 2: 0.75, 3: 1.0}

    def test_lengths_do_not_matter(self):
        images, texts = circle(IMAGES), circle(TEXTS)
        scales = np.array([[1], [100], [0.01], [5]])
        assert retrieval.recall(images * scales, texts / scales) == retrieval.recall(images, texts)

    def test_embeddings_that_are_all_alike_find_nothing(self):
        found = retrieval.recall(np.ones((20, 3)), np.ones((20, 3)))
        assert found.image_to_text == found.text_to_image == {1: 0.0, 5: 0.0, 10: 0.0}

    def test_blocks_give_what_one_matrix_gives(self, monkeypatch):
        images, texts = np.random.default_rng(0).normal(size=(2, 57, 4))
        texts += images
        whole = retrieval.recall(images, texts)
        monkeypatch.setattr(retrieval, "SIMILARITIES_PER_BLOCK", 57 * 10)
        assert retrieval.recall(images, texts) == whole

    def test_ranks_against_sorting(self):
        images, texts = np.random.default_rng(1).normal(size=(2, 40, 6)).astype(np.float32)
        texts += images
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts)]
        order = np.argsort(-(unit[0] @ unit[1].T), axis=1)
        want = [np.mean([i in order[i, :k] for i in range(40)]) for k in (1, 5)]
        assert list(retrieval.recall(images, texts, (1, 5)).image_to_text.values()) == want

    def test_several_texts_of_an_image_by_hand(self):
        """Image 0 has texts at 170 and 5, image 90 one at 200, image 180 texts at 92 and 100.

        From image 0 the nearest text is its own 5; from 90 its own is the last; from 180 come 170
        and 200, then its own 100.
        """
        images, texts = circle([0, 90, 180]), circle([170, 5, 200, 92, 100])
        found = retrieval.recall(images, texts, (1, 2, 3, 5), image_of_text=[0, 0, 1, 2, 2])
        assert found.image_to_text == pytest.approx({1: 1 / 3, 2: 1 / 3, 3: 2 / 3, 5: 1.0})
        # Text 170: 180, 90, 0; 5: 0; 200: 180, 90; 92: 90, 180 (88 away; 0 is 92); 100: 90, 180.
        assert found.text_to_image == pytest.approx({1: 0.2, 2: 0.8, 3: 1.0, 5: 1.0})

    def test_several_texts_against_a_loop(self, monkeypatch):
        random = np.random.default_rng(2)
        owners = random.permutation(np.repeat(np.arange(20), random.integers(1, 6, 20)))
        images = random.normal(size=(20, 4)).astype(np.float32)
        texts = images[owners] + random.normal(size=(len(owners), 4)).astype(np.float32)
        unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (images, texts)]
        similarity = unit[0] @ unit[1].T
        monkeypatch.setattr(retrieval, "SIMILARITIES_PER_BLOCK", 7 * len(owners))
        found = retrieval.recall(images, texts, image_of_text=owners)
        for k in (1, 5, 10):
            hits = [
                any(owners[text] == image for text in np.argsort(-similarity[image])[:k])
                for image in range(20)
            ]
            assert found.image_to_text[k] == pytest.approx(np.mean(hits))
            hits = [
                owners[text] in np.argsort(-similarity[:, text])[:k] for text in range(len(owners))
            ]
            assert found.text_to_image[k] == pytest.approx(np.mean(hits))
        assert 0 < found.image_to_text[1] < 1
        assert 0 < found.text_to_image[1] < 1

    @pytest.mark.parametrize(
        ("owners", "message"),
        [
            ([0, 1, 2], r"image_of_text is int64 \(3,\): expected whole numbers \[4\]"),
            ([0, 0, 1, 3], r"includes 3: expected \[0, 3\)"),
            ([0, 0, 2, 2], "image 1 has no text"),
        ],
    )
    def test_bad_owners(self, owners, message):
        with pytest.raises(ValueError, match=message):
            retrieval.recall(np.eye(3), np.ones((4, 3)), image_of_text=owners)

    @pytest.mark.parametrize(
        ("images", "texts", "ks", "message"),
        [
            (np.ones((3, 2)), np.ones((4, 2)), (1,), r"\(3, 2\) and texts \(4, 2\)"),
            (np.ones((3, 2)), np.ones((3, 5)), (1,), r"shapes \(3, 2\) and \(3, 5\)"),
            (np.ones((3, 2)), np.full((3, 2), np.nan), (1,), "6 numbers are not finite"),
            (np.ones((3, 2)), np.ones((3, 2)), (0, 5), "ks are"),
        ],
    )
    def test_bad_input(self, images, texts, ks, message):
        with pytest.raises(ValueError, match=message):
            retrieval.recall(images, texts, ks)


class TestZeroShot:
    def test_nearest_name(self):
        got = retrieval.zero_shot(circle([5, 100, 359, 190]), circle([0, 90, 180]))
        np.testing.assert_array_equal(got, [0, 1, 0, 2])

    def test_several_texts_of_a_class_are_averaged(self):
        """Class 0 lies at 0 and 100, so at 50 in the mean; class 1 at 95 alone."""
        texts = np.stack([circle([0, 100]), circle([95, 95])])
        np.testing.assert_array_equal(retrieval.zero_shot(circle([50, 98]), texts), [0, 1])
