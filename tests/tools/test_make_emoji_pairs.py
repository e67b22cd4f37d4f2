"""The tool that makes shards of emoji, on packages as small as can be."""

import io
import json
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image
from support.emoji_packages import write_packages
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import make_emoji_pairs
from make_emoji_pairs import CATEGORIES, part_of

import sogclr_tf

COUNT = 40
CODES = [f"{0x1F400 + number:x}-fe0f" for number in range(COUNT)]
TRAINED = ("apple", "facebook", "google")


def make(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["make_emoji_pairs.py", *map(str, arguments)])
    make_emoji_pairs.main()


def members(folder):
    """{shard: {name of member: bytes}}."""
    found = {}
    for path in sorted(folder.iterdir()):
        with tarfile.open(path) as tar:
            found[path.name] = {
                member.name: tar.extractfile(member).read() for member in tar.getmembers()
            }
    return found


def keys(shards, split):
    """The keys of a split's members, (style, code)."""
    return {
        tuple(name.partition(".")[0].split("/"))
        for shard, of_shard in shards.items()
        if shard.startswith(split)
        for name in of_shard
    }


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    return write_packages(tmp_path_factory.mktemp("npm"), COUNT)


@pytest.fixture(scope="module")
def pairs(packages, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "pairs"
    with pytest.MonkeyPatch.context() as patch:
        make(patch, packages, out)
    return out


def test_splits(pairs):
    """Meanings of test are nowhere else; the style held out has those of train, and no others."""
    shards = members(pairs)
    tested = {code for code in CODES if part_of(code) == 0}
    assert 0 < len(tested) < COUNT / 4
    trained = {*CODES} - tested
    assert keys(shards, "train") == {(style, code) for style in TRAINED for code in trained}
    assert keys(shards, "test") == {(style, code) for style in TRAINED for code in tested}
    assert keys(shards, "style") == {("twitter", code) for code in trained}
    for name, of_shard in shards.items():
        parts = {part_of(member.partition(".")[0].split("/")[1]) for member in of_shard}
        assert parts == {int(name.removesuffix(".tar").split("-")[2])}


def test_an_example(pairs):
    shard = members(pairs)[f"train-google-{part_of(CODES[3])}.tar"]
    assert shard[f"google/{CODES[3]}.cls"] == str(CATEGORIES.index("Flags")).encode()
    assert json.loads(shard[f"google/{CODES[3]}.json"]) == {
        "label": "thing 3",
        "captions": ["thing 3", "no 3", "thing, round", "thing 3, disc"],
        "category": "Flags",
        "style": "google",
    }


def test_images_are_on_white(pairs):
    for shard in members(pairs).values():
        for name, data in shard.items():
            if name.endswith(".png"):
                with Image.open(io.BytesIO(data)) as image:
                    pixels = np.asarray(image)
                assert pixels.shape == (8, 8, 3)
                np.testing.assert_array_equal(pixels[:2], 255)
                assert pixels[2:6, 2:6].min() == 0


def test_a_source_reads_them(pairs):
    source = sogclr_tf.TarSource(pairs / "train-*.tar", text="json/captions")
    assert source.labeled
    assert not source.faults
    assert source.num_captions == 4 * source.size


def test_the_same_bytes_again(packages, pairs, tmp_path, monkeypatch):
    """Whatever the order of the styles; nothing but the folder is left."""
    out = tmp_path / "again"
    make(monkeypatch, packages, out, "--styles=twitter,google,facebook,apple")
    assert [path.name for path in tmp_path.iterdir()] == ["again"]
    for path in pairs.iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()


def test_what_is_left_out(tmp_path, monkeypatch, capsys):
    """What a style lacks, swatches, and what a style draws alike."""

    def change(entries):
        entries[0]["has_img_facebook"] = False
        entries[1]["category"] = "Component"

    packages = write_packages(tmp_path / "npm", COUNT, change)
    images = packages / "emoji-datasource-apple" / "img" / "apple" / "64"
    # The same pixels, though the bytes are others.
    with Image.open(images / f"{CODES[2]}.png") as image:
        image.convert("P").save(images / f"{CODES[3]}.png")
    assert (images / f"{CODES[3]}.png").read_bytes() != (images / f"{CODES[2]}.png").read_bytes()
    make(monkeypatch, packages, tmp_path / "out")
    shards = members(tmp_path / "out")
    assert {code for _, code in keys(shards, "t")} == {*CODES[4:]}
    printed = capsys.readouterr().out
    assert f"{COUNT - 4} meanings with {4 * (COUNT - 4)} captions" in printed
    assert "Left out: 1 emoji that not all packages have, 2 drawn alike" in printed


def test_captions_once_each():
    found = make_emoji_pairs.captions("Thumbs up", ["+1", "thumbs_up"], [], ["thumbs_up"])
    assert found == ["Thumbs up", "+1"]
    assert make_emoji_pairs.captions("thumbs down", ["-1"], ["a-b", "no"], []) == [
        "thumbs down",
        "-1",
        "a b, no",
    ]


class TestRefused:
    def test_a_package_that_is_not_there(self, packages, tmp_path):
        """As a command, by one line."""
        shutil.copytree(packages, tmp_path / "npm", ignore=lambda *_: ["emojilib"])
        process = subprocess.run(
            [sys.executable, make_emoji_pairs.__file__, "npm", "out"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 1
        assert process.stderr == (
            "error: there is no file npm/emojilib/dist/emoji-en-US.json: give the folder "
            "node_modules after npm install emojilib\n"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["npm"]

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("--styles=apple,samsung,twitter", "there is no style 'samsung': choose of apple, "),
            ("--styles=apple,google", "--styles is apple,google and --held_out twitter: give two"),
            ("--styles=twitter", "--styles is twitter and --held_out twitter: give two"),
        ],
    )
    def test_styles(self, packages, tmp_path, monkeypatch, argument, message):
        with pytest.raises(SystemExit, match=f"error: {message}"):
            make(monkeypatch, packages, tmp_path / "out", argument)

    def test_a_folder_that_is_there(self, packages, pairs, monkeypatch):
        with pytest.raises(SystemExit, match="pairs exists: remove it, or give another folder"):
            make(monkeypatch, packages, pairs)

    def test_too_few(self, tmp_path, monkeypatch):
        packages = write_packages(tmp_path / "npm", 1)
        with pytest.raises(SystemExit, match="the packages share 1 emoji: too few to train"):
            make(monkeypatch, packages, tmp_path / "out")
        assert [path.name for path in tmp_path.iterdir()] == ["npm"]
