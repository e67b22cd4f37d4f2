"""Names of files that are no text or hold line breaks, through the whole command."""

import os

import pytest
from support.command import SMALL, command
from support.files import write_folder

from sogclr_tf.data.sources.arrays import digits
from sogclr_tf.experiment.folder import RunFolder

QUICK = [*SMALL, "--config.epochs=1", "--config.batch_size=32", "--config.data.on_error=skip"]
# What a file may be called on Linux, in front of its suffix.
NAMES = (b"\xff", b"line\nbreak", b"tab\t", b"\x1b[31m", b"caf\xe9", b"$x^$", b"plain")


@pytest.fixture
def pictures(tmp_path):
    """Digits in two splits whose files, and the folder above, have such names; two are damaged."""
    folder = os.fsencode(tmp_path) + b"/na\xffme\n"
    for split in ("train", "test"):
        images, labels = digits(split).images_and_labels()
        images = [image.numpy() for image in images.take(200)]
        below = tmp_path / os.fsdecode(folder) / split
        write_folder(below, images, labels[:200])
        for place, path in enumerate(sorted(below.rglob("*.png"))):
            name = NAMES[place % len(NAMES)] + b"%d.png" % place
            os.rename(path, os.path.join(os.fsencode(path.parent), name))
        for name in (b"\xff0.png", b"line\nbreak1.png"):
            (path,) = below.rglob(os.fsdecode(name))
            path.write_bytes(b"damaged")
    return os.fsdecode(folder)


@pytest.mark.slow(reason="a run of the command")
def test_they_go_through(pictures, tmp_path):
    arguments = [*QUICK, f"--config.data.name={pictures}"]
    process = command(*arguments, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    folder = RunFolder(tmp_path / "runs" / "digits")
    lines = folder.skipped.read_text(encoding="utf-8").splitlines()
    names = [line.split("\t")[1].rpartition("/")[2] for line in lines]
    assert sorted(names) == [*[r"\xff0.png"] * 2, *[r"line\nbreak1.png"] * 2]
    assert all(r"/na\xffme\n/" in line.split("\t")[1] for line in lines)
    assert folder.read_result()["skipped"] == 4
    assert r"na\xffme\n" in folder.report.read_text(encoding="utf-8")
    assert list(folder.saved_model.glob("*/assets/class_names.txt"))
