"""Tiles of large images: where they lie and what they show."""

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.files import write_folder, write_table
from support.scenes import SIZES, Ramps, all_of, boxes, scenes, tiles_of

import sogclr_tf
from sogclr_tf import ArraySource, FolderSource, ManifestSource, Policy, Tiles
from sogclr_tf.data.files import decoding
from sogclr_tf.data.sources.readable import readable
from sogclr_tf.data.sources.subset import subset

POLICY = Policy(size=8, jitter=0, grayscale=0)
# Of 32x32, with a stride of (16, 32).
COUNTS = [2, 1, 0, 3]


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "slides", scenes(), [0, 0, 1, 1], suffix=".jpg")


SIDE = st.integers(1, 9)


@settings(max_examples=6, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=5),
    st.tuples(SIDE, SIDE),
    st.tuples(SIDE, SIDE),
)
def test_the_grid_is_that_of_loops(sizes, tile, stride):
    expected = [
        (image, *box) for image, size in enumerate(sizes) for box in boxes(size, tile, stride)
    ]
    if not expected:
        with pytest.raises(ValueError, match="ramps has no tile: all its images are smaller than"):
            Tiles(Ramps(sizes), tile, stride)
        return
    tiles = Tiles(Ramps(sizes), tile, stride)
    assert (tiles.size, tiles.num_examples, tiles.image_size) == (*[len(expected)] * 2, tile)
    images, indices = all_of(tiles)
    assert indices == list(range(len(expected)))
    for index, (found, (image, row, column, top, left)) in enumerate(
        zip(images, expected, strict=True)
    ):
        assert found.shape == (*tile, 3)
        np.testing.assert_array_equal(found[0, 0], [image, top, left])
        np.testing.assert_array_equal(found[-1, -1], [image, top + tile[0] - 1, left + tile[1] - 1])
        assert tiles.locate(index) == (
            f"example {image} of ramps, tile at row {row}, column {column} "
            f"(pixels {top}:{top + tile[0]}, {left}:{left + tile[1]})"
        )
    names = tiles.example_names()
    assert len({names[index] for index in range(tiles.size)}) == tiles.size == len(names)


class TestOfAFolder:
    @pytest.mark.slow(reason="decoding traced for every kind of tile")
    def test_pixels_labels_and_where(self, folder, caplog):
        source = FolderSource(folder)
        tiles = Tiles(source, 32, (16, 32))
        assert caplog.messages == [
            f"{folder}: 1 of 4 images are smaller than a tile of 32x32 pixels, and are left out"
        ]
        files = sorted(folder.rglob("*.jpg"))
        expected = [
            tile
            for file in files
            for tile in tiles_of(decoding.decode(file.read_bytes()).numpy(), (32, 32), (16, 32))
        ]
        images, _ = all_of(tiles)
        np.testing.assert_array_equal(images, expected)
        decoded, labels = tiles.images_and_labels()
        np.testing.assert_array_equal(list(decoded), expected)
        assert labels.tolist() == np.repeat([0, 0, 1, 1], COUNTS).tolist()
        carried = [int(example["label"]) for example in tiles.examples()]
        assert carried == labels.tolist()
        assert tiles.class_names == ["class0", "class1"]
        assert tiles.locate(5) == (f"{files[3]}, tile at row 2, column 0 (pixels 32:64, 0:32)")

        files[0].write_bytes(b"")
        _, indices = all_of(tiles, first=2)
        assert indices == [2, 3, 4, 5]  # what is left out is not read

    @pytest.mark.slow(reason="views and evaluation of files")
    def test_evaluation_and_default_views(self, folder):
        tiles = Tiles(FolderSource(folder), (16, 24))
        views = sogclr_tf.training_views(tiles, batch_size=4)
        assert next(iter(views.stream()))["view_a"].shape == (4, 16, 16, 3)
        images, labels = sogclr_tf.evaluation_set(tiles, (16, 24))
        np.testing.assert_array_equal(np.round(np.stack(list(images)) * 255), all_of(tiles)[0])
        assert len(labels) == tiles.size


@pytest.mark.slow(reason="streams traced several times")
def test_streams_begin_anywhere_and_repeat():
    views = sogclr_tf.training_views(Tiles(Ramps(SIZES), 16), batch_size=5, policy=POLICY, seed=3)
    assert views.num_examples == 8 + 4 + 5 + 8
    whole = list(views.stream().take(10))
    seen = np.stack([batch["index"] for batch in whole]).reshape(2, -1)
    np.testing.assert_array_equal(np.sort(seen), [np.arange(25)] * 2)
    assert (seen[0] != seen[1]).any()
    for found, expected in zip(views.stream(3).take(3), whole[3:6], strict=True):
        for key in expected:
            np.testing.assert_array_equal(found[key], expected[key])


class TestOfOtherSources:
    @pytest.mark.parametrize(
        "array",
        [
            np.random.default_rng(1).integers(0, 256, (3, 21, 30, 3), np.uint8),
            np.random.default_rng(1).integers(0, 256, (3, 21, 30), np.uint8),
            np.random.default_rng(1).random((3, 21, 30, 4), np.float32),
        ],
        ids=["rgb", "gray", "float"],
    )
    def test_an_array(self, array):
        source = ArraySource(array, [4, 0, 2], texts=["a", "b", "c"])
        tiles = Tiles(source, (8, 10), 9)
        whole = [source.pixels(x).numpy() for x in source.examples()]
        expected = [tile for image in whole for tile in tiles_of(image, (8, 10), (9, 9))]
        images, _ = all_of(tiles)
        np.testing.assert_array_equal(images, expected)
        assert tiles.images_and_labels()[1].tolist() == [4] * 6 + [0] * 6 + [2] * 6
        assert tiles.texts() == ["a"] * 6 + ["b"] * 6 + ["c"] * 6
        assert tiles.fingerprint() is None
        assert readable(tiles) is tiles

    @pytest.mark.slow(reason="each graph of a decoder takes a second to make")
    def test_a_table_with_splits_captions_and_ids(self, tmp_path):
        write_folder(tmp_path, scenes())
        table = write_table(
            tmp_path / "slides.csv",
            path=[f"{k:05}.png" for k in range(4)],
            split=["train", "test", "train", "train"],
            caption=["zero", "one", "two", "three"],
            id=[7, 1, 3, 2],
        )
        tiles = Tiles(ManifestSource(table, "train", index="id"), 16)
        # In the order of the ids.
        expected = [tile for k in (3, 2, 0) for tile in tiles_of(scenes()[k], (16, 16), (16, 16))]
        np.testing.assert_array_equal(all_of(tiles)[0], expected)
        assert tiles.texts() == ["three"] * 8 + ["two"] * 5 + ["zero"] * 8
        assert tiles.example_names()[8].startswith("id 3 16x16 every 16x16, 5 in a row, ")
        pairs = sogclr_tf.training_pairs(tiles, batch_size=4, policy=POLICY)
        assert next(iter(pairs.stream()))["image"].shape == (4, 8, 8, 3)

    @pytest.mark.slow(reason="each graph of a decoder takes a second to make")
    def test_those_that_can_be_read(self, folder):
        broken = sorted(folder.rglob("*.jpg"))[1]
        whole = Tiles(FolderSource(folder), 16)
        broken.write_bytes(b"no image")
        tiles = Tiles(readable(FolderSource(folder)), 16)
        # The other tiles are numbered without a gap, and known by their names.
        assert tiles.size == whole.size - 4
        rows = tiles.example_names().rows_in(whole.example_names())
        assert rows.tolist() == [*range(8), *range(12, 25)]
        files = sorted(folder.rglob("*.jpg"))
        assert tiles.locate(8).startswith(f"{files[2]}, tile at row 0, column 0 ")
        assert len(all_of(tiles)[0]) == tiles.size

    @pytest.mark.slow(reason="each graph of a decoder takes a second to make")
    def test_filters_on_top(self, folder):
        tiles = Tiles(FolderSource(folder), 16)
        half = subset(tiles, 50, seed=1)
        images, indices = all_of(half)
        whole, _ = all_of(tiles)
        assert half.size == len(indices) == 12
        np.testing.assert_array_equal(images, [whole[index] for index in indices])
        assert half.locate(3) == tiles.locate(3)
        assert readable(half) is half

    @pytest.mark.slow(reason="each graph of a decoder takes a second to make")
    def test_a_tile_that_cannot_be_decoded_is_left_out(self, folder):
        path = sorted(folder.rglob("*.jpg"))[2]
        tiles = Tiles(FolderSource(folder), 16)
        path.write_bytes(path.read_bytes()[:-600])
        views = sogclr_tf.training_views(tiles, batch_size=5, policy=POLICY, on_error="skip")
        assert set(views.source.skipped) <= set(range(12, 17))
        assert views.source.skipped
        assert not {int(x["index"]) for x in views.examples().take(20)} & {*views.source.skipped}


@pytest.mark.slow(reason="decoding traced for another kind of file")
def test_of_a_tiff_of_many_bands(tmp_path):
    """Whose levels are kept, and of which only the segments around a tile are decoded."""
    scene = np.random.default_rng(1).integers(0, 4096, (100, 130, 13), np.uint16)
    path = tmp_path / "scene.tif"
    options = {"photometric": "minisblack", "planarconfig": "contig", "tile": (32, 32)}
    tifffile.imwrite(path, scene, **options)
    tiles = Tiles(FolderSource(tmp_path, value_range=(0, 4095)), 24, 40)
    found, indices = all_of(tiles)
    assert indices == list(range(2 * 3))
    expected = np.stack(tiles_of(scene, (24, 24), (40, 40))).astype(np.float32) / 4095
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert tiles.pixel_format.channels == 13
    assert tiles.in_python
