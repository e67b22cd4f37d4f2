"""Tiles of large images: their names, the headers that are read, and what is refused."""

import sys

import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder
from support.scenes import Ramps, all_of, scenes

import sogclr_tf
from sogclr_tf import ArraySource, FolderSource, ManifestSource, Tiles
from sogclr_tf.data.sources import image_sizes
from sogclr_tf.data.sources.filtered import FilteredSource


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "slides", scenes(), [0, 0, 1, 1], suffix=".jpg")


class TestIndicesAndNames:
    def test_rows_of_a_table_go_with_their_tiles(self, folder):
        before = Tiles(FolderSource(folder), 16)
        names, kept = before.example_names(), [*range(before.size)]
        more = tf.io.encode_jpeg(scenes([(16, 40)])[0]).numpy()
        (folder / "class1" / "99999.jpg").write_bytes(more)
        after = Tiles(FolderSource(folder), 16)
        # A slide at the end leaves the others their indices; one in between moves them.
        assert after.example_names().rows_in(names).tolist() == [*kept, -1, -1]
        assert after.locate(24) == before.locate(24)
        (folder / "class0" / "00000a.jpg").write_bytes(more)
        between = Tiles(FolderSource(folder), 16).example_names()
        assert between.rows_in(names).tolist() == [*kept[:8], -1, -1, *kept[8:], -1, -1]

    def test_another_grid_has_other_names(self):
        source = ArraySource(np.zeros((2, 40, 40, 3), np.uint8))
        names = Tiles(source, 20).example_names()
        for other in (Tiles(source, 20, 10), Tiles(source, 16)):
            assert (other.example_names().rows_in(names) == -1).all()

    def test_many_slides_are_quick_and_small(self):
        class Slides(Ramps):
            def __init__(self):
                super().__init__([[1, 1]])
                self.size = self.num_examples = 10_000
                self.image_size = (100_000, 100_000)

            def example_at(self, row):
                return {"image": row, "index": row}

        tiles = Tiles(Slides(), 256)
        with pytest.raises(ValueError, match=r"ramps has 1,562,500,000,000 tiles .* 2,147,483,647"):
            Tiles(Slides(), 8)
        assert tiles.size == 10_000 * 390**2
        assert tiles.locate(tiles.size - 1) == (
            "example 9999 of ramps, tile at row 389, column 389 (pixels 99584:99840, 99584:99840)"
        )
        names = tiles.example_names()
        assert len(names) == tiles.size
        assert len(names.text) < 100 * 10_000
        example = tiles._tile_at(tf.constant(tiles.size - 390))
        assert example["image"]["number"] == 9999
        assert example["image"]["box"].numpy().tolist() == [99584, 0, 256, 256]


class TestHeaders:
    def test_are_remembered(self, folder, monkeypatch):
        first = Tiles(FolderSource(folder), 16)
        monkeypatch.setattr(image_sizes, "_read", None)
        assert Tiles(FolderSource(folder), 16).fingerprint() == first.fingerprint()
        part = Tiles(FilteredSource(FolderSource(folder), skipped={1: "cut off"}), 16)
        assert part.size == first.size - 4
        assert part.fingerprint() != first.fingerprint()

    @pytest.mark.slow(reason="each graph of a decoder takes a second to make")
    def test_an_image_of_another_size_stops(self, folder):
        tiles = Tiles(FolderSource(folder), 16)
        file = sorted(folder.rglob("*.jpg"))[0]
        file.write_bytes(tf.io.encode_jpeg(scenes([(16, 16)])[0]).numpy())
        line = f"image 0 of {folder} has 16x16 pixels, but had 40x70 when its tiles were laid out"
        with pytest.raises(tf.errors.InvalidArgumentError, match=line) as error:
            all_of(tiles)
        remembered = str(error.value).split("remove ")[1].split(",")[0]
        assert remembered.endswith(".npz")
        (file.parent / remembered).unlink()
        assert Tiles(FolderSource(folder), 16).size == tiles.size - 7

    def test_one_that_cannot_be_read_is_named(self, tmp_path):
        place = 70
        folder = write_folder(tmp_path / "slides", scenes([(16, 16)] * 71))
        path = folder / f"{place:05}.png"
        path.write_bytes(b"GIF8")
        line = rf"{path} \(index {place}\) has no header that can be read: truncated GIF"
        with pytest.raises(ValueError, match=line):
            Tiles(FolderSource(folder), 8)

    def test_a_file_that_is_not_there(self, tmp_path):
        table = {"path": [str(tmp_path / "gone.png")]}
        with pytest.raises(FileNotFoundError, match=r"row 0 .*gone\.png"):
            Tiles(ManifestSource(table), 8)

    @pytest.mark.slow(reason="each graph of a decoder takes a second to make")
    def test_progress_is_shown_on_a_terminal(self, folder, monkeypatch, capsys):
        monkeypatch.setattr(image_sizes, "_PATIENCE", -1)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        Tiles(FolderSource(folder), 16)
        assert "4/4" in capsys.readouterr().out


class TestRefused:
    @pytest.mark.parametrize(
        ("size", "stride", "message"),
        [
            (0, None, "size is 0: expected a whole number of pixels"),
            (4, (2, 0), r"stride is \(2, 0\): expected a whole number of pixels"),
            (33, None, "the array has no tile: all its images are smaller than 33x33 pixels"),
        ],
    )
    def test_sizes(self, size, stride, message):
        with pytest.raises(ValueError, match=message):
            Tiles(ArraySource(np.zeros((2, 32, 40), np.uint8)), size, stride)

    def test_tiles_of_tiles(self):
        tiles = Tiles(ArraySource(np.zeros((2, 32, 40), np.uint8)), 16)
        with pytest.raises(ValueError, match="tiles of the array are tiles already"):
            Tiles(tiles, 8)
        with pytest.raises(ValueError, match="tiles of the array cannot be cut into tiles"):
            Tiles(FilteredSource(tiles, only=[1]), 8)

    def test_what_is_no_source(self):
        with pytest.raises(ValueError, match=r"tiles of './slides': expected a source"):
            Tiles("./slides", 8)

    def test_images_one_after_the_other(self):
        data = tf.data.Dataset.from_tensor_slices(np.zeros((2, 32, 40, 3), np.uint8))
        with pytest.raises(ValueError, match="cannot be cut into tiles, because its images can"):
            Tiles(sogclr_tf.DatasetSource(data), 8)


def test_files_are_looked_for_by_their_tiles(folder):
    tiles = Tiles(FolderSource(folder), 16)
    asked = []
    tiles._source.check_files = asked.append
    tiles.check_files()
    tiles.check_files(np.array([0, 7, 12]))
    assert asked[0] is None
    assert asked[1].tolist() == [0, 2]
