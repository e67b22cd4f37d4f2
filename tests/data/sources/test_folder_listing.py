"""The list of a folder's images, that is remembered while it holds."""

import os
import re

import numpy as np
import pytest
import tensorflow as tf
from support.image_folders import images, paths, settle, touch

from sogclr_tf import FolderSource
from sogclr_tf.data.sources import file_cache, folder_entries, folder_listing, image_files
from sogclr_tf.data.sources.open import from_name, from_path
from sogclr_tf.data.sources.readable import clear_errors


@pytest.fixture
def walks(monkeypatch):
    """The folders that were listed, one by one."""
    listed = []
    plain = folder_entries.list_local

    def watched(root, relative, **options):
        listed.append(relative.decode())
        return plain(root, relative, **options)

    monkeypatch.setattr(folder_entries, "list_local", watched)
    return listed


class TestOtherFiles:
    """What is no image by its name: told by its bytes, counted, or passed over."""

    def heads(self):
        """{kind: bytes of a file}; TensorFlow writes no WebP, BMP and GIF."""
        image = images(1)[0]
        return {
            "jpeg": tf.io.encode_jpeg(image).numpy(),
            "png": tf.io.encode_png(image).numpy(),
            "gif": b"GIF89a" + bytes(20),
            "webp": b"RIFF\x24\0\0\0WEBPVP8 " + bytes(20),
            "bmp": b"BM" + bytes(12) + b"\x28\0\0\0" + bytes(40),
        }

    @pytest.mark.parametrize("remote", [False, True])
    def test_a_file_without_suffix_is_known_by_its_first_bytes(self, tmp_path, remote):
        files = {
            **self.heads(),
            "1.2.840.113": self.heads()["jpeg"],
            **{"README": b"BMW, a collection", "empty": b"", "psd": b"8BPS\0" + bytes(9)},
        }
        folder = f"ram://{tmp_path.name}-{remote}" if remote else str(tmp_path)
        tf.io.gfile.makedirs(folder)
        for name, content in files.items():
            with tf.io.gfile.GFile(f"{folder}/{name}", "wb") as file:
                file.write(content)
        found = folder_listing.list_images(folder)
        names = ["1.2.840.113", "bmp", "gif", "jpeg", "png", "webp"]
        assert found.text.decode() == "".join(names)
        assert found.left_out == {"": 2}

    def test_many_without_suffix(self, tmp_path):
        names = [f"{number:032x}" for number in range(200)]
        for place, name in enumerate(names):
            (tmp_path / name).write_bytes(b"\xff\xd8\xff" if place % 2 else b"no image")
        assert paths(tmp_path) == names[1::2]

    def test_what_can_be_opened_only_to_wait(self, tmp_path):
        os.mkfifo(touch(tmp_path, "a.png") / "pipe")
        (tmp_path / "around").symlink_to("around")
        (tmp_path / "gone").symlink_to("nowhere")
        found = folder_listing.list_images(str(tmp_path))
        assert (found.text, found.left_out) == (b"a.png", {"": 3})

    def test_others_are_counted_once_in_a_process_and_from_the_manifest(
        self, tmp_path, caplog, walks
    ):
        others = ["a/0.psd", "a/1.PSD", "b/2.psd", "b/3.svg", "a/4.JXL"]
        notes = ["a/labels.csv", "README.md", "b/5.json", "b/6.xml", "b/desktop.ini"]
        touch(tmp_path, "a/0.jpg", "b/0.jpg", *others, *notes)
        settle(tmp_path)
        expected = (
            f"{tmp_path}: left out 5 files that are no JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF "
            "or HEIC: .psd 3, .jxl 1, .svg 1: convert them to use them"
        )
        for _ in range(2):
            assert FolderSource(tmp_path).size == 2
        assert caplog.messages == [expected]
        # As in another process, which finds the list.
        image_files._warn.cache_clear()
        listed = len(walks)
        FolderSource(tmp_path)
        assert caplog.messages == [expected] * 2
        assert len(walks) == listed

    def test_notes_alone_are_no_reason_to_warn(self, tmp_path, caplog):
        FolderSource(touch(tmp_path, "a.png", "labels.csv", "captions.txt", "Thumbs.db"))
        assert caplog.messages == []

    def test_of_many_kinds_the_frequent_ones_are_told(self):
        left_out = {f".k{number}": number for number in range(1, 12)}
        assert image_files.counts(left_out).endswith(".k5 5, .k4 4, others 6")

    def test_what_systems_leave_is_no_image_and_no_class(self, tmp_path, caplog):
        left = ["cat/@eaDir/1.jpg/THUMB_M.jpg", "__MACOSX/cat/._1.jpg", "lost+found/#12.jpg"]
        left += ["$RECYCLE.BIN/$R1.jpg", "System Volume Information/2.jpg", "#recycle/3.jpg"]
        left += [".thumbnails/4.jpg", ".ipynb_checkpoints/5.jpg", "cat/Thumbs.db", "cat/.DS_Store"]
        source = FolderSource(touch(tmp_path, "cat/1.jpg", "dog/2.jpg", *left))
        assert (source.size, source.class_names) == (2, ["cat", "dog"])
        assert caplog.messages == []

    def test_a_list_that_was_made_by_other_rules_is_made_anew(self, tmp_path, monkeypatch, walks):
        settle(touch(tmp_path, "1.png"))
        for rules, expected in ((1, 1), (1, 1), (2, 2)):
            monkeypatch.setattr(image_files, "RULES", rules)
            paths(tmp_path)
            assert len(walks) == expected


class TestNames:
    """Names that are no UTF-8 or hold line breaks, as Linux allows them."""

    NAMES = (b"\xff.png", b"line\nbreak.png", b"tab\t.png")

    def folder(self, tmp_path):
        root = os.fsencode(tmp_path) + b"/caf\xe9\n/a"
        os.makedirs(root)
        for name, image in zip(self.NAMES, images(3), strict=True):
            with open(os.path.join(root, name), "wb") as file:
                file.write(tf.io.encode_png(image).numpy())
        return os.fsdecode(os.path.dirname(root))

    def test_files_are_read_and_their_places_are_printable(self, tmp_path):
        folder = self.folder(tmp_path)
        for source in (FolderSource(folder), from_path(folder), from_name(folder, ".")):
            assert source.name == rf"{tmp_path}/caf\xe9\n"
            places = [source.locate(index) for index in range(3)]
            names = [r"line\nbreak.png", r"tab\t.png", r"\xff.png"]
            assert places == [rf"{tmp_path}/caf\xe9\n/a/{name}" for name in names]
        shown = np.stack([image.numpy() for image in source.images_and_labels()[0]])
        np.testing.assert_array_equal(shown, images(3)[[1, 2, 0]])

    def test_the_list_is_remembered(self, tmp_path, walks):
        folder = self.folder(tmp_path)
        settle(tmp_path)
        first, again = (folder_listing.list_images(folder) for _ in range(2))
        assert first.text == again.text
        assert len(walks) == 2

    def test_a_file_that_is_gone_is_named_in_one_line(self, tmp_path):
        folder = self.folder(tmp_path)
        source = FolderSource(folder)
        for index, name in ((2, self.NAMES[0]), (0, self.NAMES[1])):
            os.remove(os.fsencode(folder) + b"/a/" + name)
            with pytest.raises(ValueError, match="cannot be decoded") as told, clear_errors(source):
                source.read(next(iter(source.examples(first=index)))["image"])
            (line,) = str(told.value).splitlines()
            assert source.locate(index) in line
            line.encode()
            with open(os.fsencode(folder) + b"/a/" + name, "wb") as file:
                file.write(tf.io.encode_png(images(1)[0]).numpy())

    @pytest.mark.parametrize(("name", "shown"), [(b"caf\xe9", r"caf\xe9"), (b"a\nb", r"a\nb")])
    def test_a_class_needs_a_name_that_can_be_written(self, tmp_path, name, shown):
        folder = touch(tmp_path, "cat/1.png")
        os.makedirs(os.fsencode(folder) + b"/" + name)
        line = re.escape(f"a class of {folder} is '{shown}', which is no UTF-8 or has control")
        with pytest.raises(ValueError, match=f"^{line}.*give it another name, or its folder a lin"):
            FolderSource(folder)
        # Without labels it is no class.
        assert FolderSource(touch(tmp_path, "2.png")).class_names is None

    def test_a_split_that_is_not_there(self, tmp_path):
        with pytest.raises(ValueError, match=r"caf\\xe9\\n' has no sub-folder 'b', only a: name"):
            from_name(self.folder(tmp_path), "b")


class TestManifest:
    def test_a_second_start_lists_nothing(self, tmp_path, walks):
        touch(tmp_path, "a/1.png", "b/c/2.png", "b/3.png")
        settle(tmp_path)
        first = folder_listing.list_images(str(tmp_path))
        assert walks == ["", "a/", "b/", "b/c/"]
        again = folder_listing.list_images(str(tmp_path))
        assert len(walks) == 4
        assert again.text == first.text
        assert again.group_names == first.group_names == ["a", "b"]
        np.testing.assert_array_equal(again.starts, first.starts)
        np.testing.assert_array_equal(again.groups, first.groups)

    @pytest.mark.parametrize(
        "change",
        [
            lambda folder: touch(folder, "b/c/4.png"),
            lambda folder: touch(folder, "0.png"),
            lambda folder: touch(folder, "d/5.png"),
            lambda folder: (folder / "b" / "c" / "2.png").unlink(),
            lambda folder: (folder / "a" / "1.png").rename(folder / "a" / "7.png"),
            lambda folder: (folder / "a").rename(folder / "e"),
        ],
        ids=["added", "added on top", "new folder", "removed", "renamed", "folder renamed"],
    )
    def test_a_change_is_seen(self, tmp_path, change):
        touch(tmp_path, "a/1.png", "b/c/2.png", "b/3.png")
        settle(tmp_path)
        before = paths(tmp_path)
        change(tmp_path)
        after = paths(tmp_path)
        assert after != before
        files = tmp_path.rglob("*.png")
        assert after == sorted(str(path.relative_to(tmp_path)) for path in files)

    def test_what_changed_a_moment_ago_is_listed_again(self, tmp_path, walks):
        """A file may come in the same tick of the clock, and leave no trace in the time."""
        touch(tmp_path, "1.png")
        paths(tmp_path)
        (when,) = [os.stat(tmp_path).st_mtime_ns]
        touch(tmp_path, "2.png")
        os.utime(tmp_path, ns=(when, when))
        assert paths(tmp_path) == ["1.png", "2.png"]
        assert walks == ["", ""]

    def test_a_broken_manifest_is_written_anew(self, tmp_path, walks):
        touch(tmp_path, "1.png")
        settle(tmp_path)
        paths(tmp_path)
        path = file_cache.path_of("folder", str(tmp_path))
        for content in (b"", path.read_bytes()[:-40]):
            path.write_bytes(content)
            assert paths(tmp_path) == ["1.png"]
        assert paths(tmp_path) == ["1.png"]
        assert walks == [""] * 3

    def test_without_a_place_to_write(self, tmp_path, monkeypatch):
        """As on a machine whose home is read-only: a file stands where the folder would be."""
        touch(tmp_path, "pets/1.png", "file")
        monkeypatch.setenv("SOGCLR_TF_CACHE", str(tmp_path / "file"))
        assert [paths(tmp_path / "pets") for _ in range(2)] == [["1.png"]] * 2

    def test_a_full_disk_leaves_nothing_behind(self, manifests, monkeypatch):
        def full(path, **_):
            with open(path, "wb") as file:
                file.write(b"half")
            raise OSError("No space left on device")

        before = sorted(manifests.iterdir())
        monkeypatch.setattr(np, "savez", full)
        file_cache.save("folder", "/somewhere", text=np.zeros(3))
        assert sorted(manifests.iterdir()) == before
        assert file_cache.load("folder", "/somewhere") is None

    def test_the_folder_is_not_written_to(self, tmp_path):
        touch(tmp_path, "1.png")
        paths(tmp_path)
        assert os.listdir(tmp_path) == ["1.png"]

    def test_places(self, monkeypatch, tmp_path):
        for name in ("SOGCLR_TF_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert file_cache.path_of("a", "b").parent == tmp_path / ".cache" / "sogclr_tf"
        monkeypatch.setenv("XDG_CACHE_HOME", "/x")
        assert str(file_cache.path_of("a", "b").parent) == "/x/sogclr_tf"
