"""The tool that makes ImageNet-100, as a process, on an ImageNet of four classes; its recipe."""

import errno
import os
import pathlib
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
import tensorflow as tf
from support import processes
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import make_imagenet100

CLASSES = ["n01440764", "n01443537", "n02869837", "n13133613"]
WANTED = ["n13133613", "n01443537"]


def write_class(folder, count):
    """Noise as JPEG files, as ImageNet has them."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(count)
    for number in range(count):
        image = random.integers(0, 256, (40, 48, 3), np.uint8)
        path = folder / f"{folder.name}_{number}.JPEG"
        path.write_bytes(tf.io.encode_jpeg(image).numpy())


@pytest.fixture
def imagenet(tmp_path):
    """A folder ImageNet: 4 classes, each with 5 images to train on and 2 to validate."""
    for name in CLASSES:
        write_class(tmp_path / "ImageNet" / "train" / name, 5)
        write_class(tmp_path / "ImageNet" / "val" / name, 2)
    (tmp_path / "list.txt").write_text("# of a test\n\n" + "  # why\n".join([*WANTED, ""]))
    return tmp_path / "ImageNet"


def tool(imagenet, *arguments, out="imagenet100", classes=2):
    """The finished process, with the list beside ImageNet."""
    arguments = [imagenet.name, out, "--list=list.txt", f"--classes={classes}", *arguments]
    return subprocess.run(
        [sys.executable, make_imagenet100.__file__, *arguments],
        cwd=imagenet.parent,
        capture_output=True,
        text=True,
    )


def content(folder):
    """{relative path: bytes} of the files below, links followed."""
    found = {}
    for place, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = pathlib.Path(place, name)
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def dangle(link):
    """Leads a link to where nothing is, as after ImageNet was moved."""
    link.unlink()
    link.symlink_to("nowhere")


@pytest.mark.parametrize("how", make_imagenet100.HOWS)
def test_makes_the_classes_of_the_list(imagenet, how):
    process = tool(imagenet, f"--how={how}")
    assert process.returncode == 0, process.stderr
    assert (
        process.stdout == "imagenet100 holds 2 classes: 10 images to train on and 4 to validate\n"
    )
    out = imagenet.parent / "imagenet100"
    whole = content(imagenet)
    assert content(out) == {path: whole[path] for path in whole if path.split("/")[1] in WANTED}
    image = out / "val" / WANTED[0] / f"{WANTED[0]}_0.JPEG"
    assert (out / "val" / WANTED[0]).is_symlink() == (how == "link")
    assert image.samefile(imagenet / image.relative_to(out)) == (how != "copy")
    assert not list(imagenet.parent.glob(".*"))


def test_again_it_changes_nothing(imagenet):
    """Whatever it was made by."""
    assert tool(imagenet, "--how=copy").returncode == 0
    out = imagenet.parent / "imagenet100"
    made = out.stat().st_ino
    process = tool(imagenet)
    assert process.stdout.startswith("imagenet100 held already 2 classes")
    assert out.stat().st_ino == made
    assert not (out / "train" / WANTED[0]).is_symlink()


def test_goes_on_where_it_was_stopped(imagenet, monkeypatch):
    """The third copy breaks off; the next start copies what is not there yet, and no more."""
    monkeypatch.chdir(imagenet.parent)
    images = make_imagenet100.find_images(imagenet, WANTED)
    out, copied, copy = pathlib.Path("out"), [], make_imagenet100.shutil.copyfile

    def copy_until(limit):
        def copyfile(source, target):
            copied.append(source)
            if len(copied) == limit:
                target.write_bytes(source.read_bytes()[:10])
                raise OSError("no space left")
            copy(source, target)

        return copyfile

    monkeypatch.setattr(make_imagenet100.shutil, "copyfile", copy_until(3))
    with pytest.raises(OSError, match="no space"):
        make_imagenet100.make(imagenet, out, images, "copy")
    assert not out.exists()
    monkeypatch.setattr(make_imagenet100.shutil, "copyfile", copy_until(None))
    assert make_imagenet100.make(imagenet, out, images, "copy")
    assert len(copied) == 3 + 14 - 2
    whole = content(imagenet)
    assert content(out) == {path: whole[path] for path in whole if path.split("/")[1] in WANTED}


def test_hard_links_to_another_file_system_are_refused(imagenet, tmp_path, monkeypatch):
    def hardlink_to(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(pathlib.Path, "hardlink_to", hardlink_to)
    images = make_imagenet100.find_images(imagenet, WANTED)
    with pytest.raises(ValueError, match="another file system .* take --how=link or --how=copy"):
        make_imagenet100.make(imagenet, tmp_path / "out", images, "hardlink")


def test_the_list_of_cmc():
    names = make_imagenet100.read_list(make_imagenet100.LIST, 100)
    assert (names[0], names[-1]) == ("n02869837", "n02090622")


def test_the_list_of_the_authors():
    """The first 100 of ImageNet's classes, as TFDS has them."""
    names = make_imagenet100.read_list(make_imagenet100.LIST.with_name("imagenet_s.txt"), 100)
    labels = resources.files("tensorflow_datasets") / "datasets" / "imagenet2012" / "labels.txt"
    assert names == labels.read_text().split()[:100]


class TestOneClearLine:
    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            (["tench"], "line 1 of list.txt is 'tench': expected a WordNet id such as n01440764"),
            ([*WANTED, WANTED[0]], "list.txt names n13133613 in lines 1 and 3: take one of them"),
            (CLASSES, "list.txt names 4 classes, expected 2: complete the list, or say --classes="),
            (
                [WANTED[0], "n00000001"],
                "1 of 2 classes have no folder in ImageNet/train, the first",
            ),
        ],
    )
    def test_of_a_list(self, imagenet, lines, message):
        (imagenet.parent / "list.txt").write_text("\n".join(lines))
        self.check(tool(imagenet), message)
        assert not (imagenet.parent / "imagenet100").exists()

    def test_of_validation_images_that_are_not_sorted(self, imagenet):
        for folder in (imagenet / "val").iterdir():
            folder.rename(folder.with_name(f"{folder.name}.JPEG"))
        self.check(tool(imagenet), "2 of 2 classes have no folder in ImageNet/val, the first is")

    def test_of_a_folder_without_images(self, imagenet):
        for image in (imagenet / "train" / WANTED[1]).iterdir():
            image.unlink()
        message = f"1 class folders hold no file, the first is ImageNet/train/{WANTED[1]}"
        self.check(tool(imagenet), message)

    def test_of_another_folder_than_imagenet(self, imagenet):
        (imagenet / "val").rename(imagenet / "validation")
        self.check(tool(imagenet), "no folder ImageNet/val: give the folder that holds train and")

    def test_of_a_list_that_is_missing(self, imagenet):
        (imagenet.parent / "list.txt").unlink()
        self.check(tool(imagenet), "No such file or directory: 'list.txt'")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda out: (out / "train" / WANTED[0]).unlink(), "differs in train/n13133613"),
            (lambda out: (out / "val" / "n09999999").mkdir(), "differs in val/n09999999"),
            (lambda out: dangle(out / "val" / WANTED[1]), "differs in val/n01443537"),
            (lambda out: (out / "test").mkdir(), "does not hold train and val alone"),
        ],
    )
    def test_of_other_content(self, imagenet, change, message):
        assert tool(imagenet).returncode == 0
        change(imagenet.parent / "imagenet100")
        self.check(tool(imagenet), f"imagenet100 exists and {message}: remove it, or give another")

    def test_of_other_images(self, imagenet):
        assert tool(imagenet, "--how=copy").returncode == 0
        write = imagenet.parent / "imagenet100" / "val" / WANTED[0] / f"{WANTED[0]}_1.JPEG"
        write.write_bytes(b"short")
        self.check(tool(imagenet), "imagenet100 exists and differs in val/n13133613: remove it")

    def test_of_a_file(self, imagenet):
        (imagenet.parent / "imagenet100").write_text("")
        self.check(tool(imagenet), "imagenet100 exists and is no folder")

    def check(self, process, message):
        assert process.returncode == 1
        assert process.stderr.count("\n") == 1
        assert process.stderr.startswith("error: ")
        assert message in process.stderr


@pytest.mark.slow(reason="a run of the command, or several")
def test_its_recipe_trains_on_what_it_made(imagenet):
    """Two steps of configs/imagenet100.py with a small encoder, as a command, through the links."""
    assert tool(imagenet).returncode == 0
    quick = ["batch_size=5", "epochs=1", "encoder.name=resnet18", "data.image_size=32"]
    quick += ["optimizer.warmup_epochs=0.5", "checkpoint.every_steps=0"]
    process = processes.run(
        *("-m", "sogclr_tf.run", "--mode=train"),
        f"--config={ROOT / 'configs' / 'imagenet100.py'}",
        *(f"--config.{setting}" for setting in quick),
        cwd=imagenet.parent,
    )
    assert process.returncode == 0, process.stderr
    assert "2 steps over 10 examples" in process.stdout
