"""A folder of images: an index for every path, and its labels."""

import contextlib
import os
import re

import numpy as np
import pytest
import tensorflow as tf
from support.files import write_folder
from support.image_folders import N, images, paths, touch

from sogclr_tf import FolderSource
from sogclr_tf.data.sources import folder_listing
from sogclr_tf.data.sources.open import from_name, from_path, is_path


class TestPaths:
    def test_sorted_by_the_bytes_of_the_whole_relative_path(self, tmp_path):
        names = [
            "b.png",
            "a/z.png",
            "a/b/c.png",
            "a-b/x.png",
            "a.png",
            "é/1.png",
            "Z.png",
            "a/B.png",
        ]
        touch(tmp_path, *names)
        assert paths(tmp_path) == sorted(names, key=os.fsencode)

    def test_suffixes(self, tmp_path):
        good = ["a.jpg", "b.JPEG", "c.jpe", "d.png", "e.WebP", "f.bmp", "g.gif", "h.jfif", "i.JPG"]
        good += ["j.tif", "k.TIFF", "l.avif", "m.heic"]
        touch(
            tmp_path,
            *good,
            "labels.csv",
            "boxes.npy",
            "k",
            "l.psd",
            ".j.png",
            "._k.jpg",
            ".git/l.png",
        )
        assert paths(tmp_path) == good

    def test_arrays_are_images_where_there_are_no_others(self, tmp_path):
        assert FolderSource(touch(tmp_path, "a/0.npy", "b/1.NPY", "k.txt")).size == 2
        assert FolderSource(touch(tmp_path, "b/2.png")).size == 1

    def test_links_are_followed_but_not_into_themselves(self, tmp_path):
        touch(tmp_path / "elsewhere", "cat/1.png", "dog/2.png")
        chosen = touch(tmp_path / "chosen", "bee/0.png")
        (chosen / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
        (chosen / "bee" / "around").symlink_to(chosen)
        (chosen / "bee" / "one.png").symlink_to(tmp_path / "elsewhere" / "dog" / "2.png")
        assert paths(chosen) == ["bee/0.png", "bee/one.png", "cat/1.png"]

    def test_a_remote_file_system(self, tmp_path):
        names = ["b.png", "a/z.PNG", "a/b/c.jpg", "a-b/x.webp", "a/.hidden.png", "notes.txt"]
        folder = f"ram://{tmp_path.name}"
        for name in names:
            tf.io.gfile.makedirs(os.path.dirname(f"{folder}/{name}"))
            with tf.io.gfile.GFile(f"{folder}/{name}", "w") as file:
                file.write("x")
        assert paths(folder) == ["a-b/x.webp", "a/b/c.jpg", "a/z.PNG", "b.png"]

    def test_more_folders_than_requests_at_a_time(self, tmp_path, monkeypatch):
        names = [f"{k:02}/{k}.png" for k in range(20)]
        folder = f"ram://{tmp_path.name}"
        for name in names:
            tf.io.gfile.makedirs(f"{folder}/{name[:2]}")
            with tf.io.gfile.GFile(f"{folder}/{name}", "w") as file:
                file.write("x")
        monkeypatch.setattr(folder_listing, "_REQUESTS", 3)
        assert paths(folder) == names


class TestClosed:
    """As a user who may not read everything."""

    @pytest.fixture
    def somebody(self, tmp_path):
        if os.getuid() != 0:
            pytest.skip("another user can be tried by root alone")
        for place in (tmp_path, *tmp_path.parents[:-2]):
            place.chmod(place.stat().st_mode | 0o055)

        @contextlib.contextmanager
        def somebody():
            os.seteuid(65534)
            try:
                yield
            finally:
                os.seteuid(0)

        return somebody()

    def test_a_folder(self, tmp_path, somebody):
        (touch(tmp_path, "cat/1.jpg", "dog/2.jpg") / "dog").chmod(0)
        line = re.escape(f"folder '{tmp_path}/dog/' may not be read: allow it, or move it elsewhe")
        with somebody, pytest.raises(PermissionError, match=line):
            paths(tmp_path)

    def test_a_file_of_which_nobody_knows_what_it_is(self, tmp_path, somebody):
        (touch(tmp_path, "1.jpg", "dog") / "dog").chmod(0)
        line = re.escape(f"file '{tmp_path}/dog' may not be read: allow it, or give it a suffix")
        with somebody, pytest.raises(PermissionError, match=line):
            paths(tmp_path)

    def test_what_a_disk_keeps_for_itself(self, tmp_path, somebody):
        (touch(tmp_path, "cat/1.jpg", "lost+found/2.jpg") / "lost+found").chmod(0)
        with somebody:
            assert paths(tmp_path) == ["cat/1.jpg"]


class TestLabels:
    def test_classes_in_the_order_of_their_names(self, tmp_path):
        """Which is not that of the paths: "a-b/" comes before "a/"."""
        touch(tmp_path, "a/1.png", "a-b/2.png", "c/deep/3.png", "c/4.png")
        (tmp_path / "b").mkdir()
        source = FolderSource(tmp_path)
        assert source.class_names == ["a", "a-b", "b", "c"]
        labels = [int(e["label"]) for e in source.examples()]
        assert labels == [1, 0, 3, 3]

    @pytest.mark.parametrize("names", [["1.png", "2.png"], ["1.png", "a/b/c/2.png", "a/b/3.png"]])
    def test_images_outside_of_classes_have_no_labels(self, tmp_path, names):
        source = FolderSource(touch(tmp_path, *names))
        assert not source.labeled
        assert source.class_names is None
        assert sorted(source.examples().element_spec) == ["image", "index"]
        assert source.images_and_labels()[1] is None


class TestImages:
    def test_pixels_come_with_their_index_and_path(self, tmp_path):
        source = FolderSource(write_folder(tmp_path, images(), np.arange(N) % 3))
        for example in source.examples(3):
            place = int(example["index"])
            path = source.locate(place)
            number = int(os.path.basename(path)[:5])
            assert os.path.dirname(path) == str(tmp_path / f"class{number % 3}")
            picture = source.decode(source.read(example["image"]))
            np.testing.assert_array_equal(picture, images()[number])

    def test_sizes_may_differ(self, tmp_path):
        for k in range(3):
            write_folder(tmp_path / str(k), images(1)[:, : 3 + k])
        source = FolderSource(tmp_path)
        assert source.image_size is None
        shapes = [picture.shape for picture in source.images_and_labels()[0]]
        assert shapes == [(3, 5, 3), (4, 5, 3), (5, 5, 3)]

    def test_home_folder(self, tmp_path, monkeypatch):
        write_folder(tmp_path / "pets", images())
        monkeypatch.setenv("HOME", str(tmp_path))
        assert FolderSource("~/pets").size == N

    def test_files_are_read_when_they_are_needed(self, tmp_path):
        source = FolderSource(touch(tmp_path, "a.png", "b.png"))
        (tmp_path / "a.png").unlink()
        (last,) = source.examples(first=1)
        assert source.read(last["image"]) == b""


class TestErrors:
    def test_no_such_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no folder '.*nowhere': give one"):
            FolderSource(tmp_path / "nowhere")

    def test_no_images(self, tmp_path):
        touch(tmp_path, "a/notes.txt")
        with pytest.raises(ValueError, match=r"holds no image: expected files \.jpg, .* pattern"):
            FolderSource(tmp_path)
        touch(tmp_path, "a/1.psd", "a/2.psd")
        with pytest.raises(ValueError, match=r"holds no image \(only \.psd 2\): expected files"):
            FolderSource(tmp_path)


class TestByPath:
    def test_which_names_are_paths(self, tmp_path):
        for path in (
            "/x",
            "./x",
            "../x",
            "~/x",
            "~me/x",
            ".",
            "..",
            "gs://b/x",
            "ram://x",
            tmp_path,
        ):
            assert is_path(path)
        for name in ("digits", "cifar10", "imagenet2012:5.1.0", "glue/sst2", ".hidden"):
            assert not is_path(name)

    def test_a_split_is_a_sub_folder(self, tmp_path):
        for split in ("train", "val"):
            write_folder(tmp_path / split, images())
        place = str(tmp_path)
        assert from_name(place, "val").locate(0) == f"{place}/val/00000.png"
        assert from_name(f"{place}/{{split}}", "val").size == N
        assert from_name(place, ".").size == 2 * N
        with pytest.raises(ValueError, match="no sub-folder 'test', only train, val: name one as"):
            from_name(place, "test")

    def test_data_dir_has_no_meaning(self, tmp_path):
        with pytest.raises(ValueError, match="is for names of TFDS sets"):
            from_name(str(tmp_path), "train", data_dir="x")

    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no folder and no file is called '.*nothing'"):
            from_path(tmp_path / "nothing")

    def test_a_name_that_is_a_folder_as_well(self, tmp_path, monkeypatch):
        write_folder(tmp_path / "pets", images())
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match=r"'pets': for the folder of that name write \./pets"):
            from_name("pets")

    def test_a_relative_path_holds_wherever_the_program_goes(self, tmp_path, monkeypatch):
        write_folder(tmp_path / "pets", images())
        monkeypatch.chdir(tmp_path)
        source = from_path("./pets")
        monkeypatch.chdir("/")
        assert len(list(source.images_and_labels()[0])) == N
