"""The search by texts: what is nearest, what is kept, and its page."""

import sys

import keras
import numpy as np
import PIL.Image
import pytest
from support.paths import ROOT

import sogclr_tf

sys.path.insert(0, str(ROOT / "tools"))

import search

COLORS = {"red": 0, "green": 1, "blue": 2}
SIDE, EACH = 8, 5


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Images of three colors, and towers that tell them apart by construction."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "images").mkdir()
    for name, channel in COLORS.items():
        for number in range(EACH):
            pixels = np.full((SIDE, SIDE, 3), 40, np.uint8)
            pixels[..., channel] = 150 + 20 * number
            PIL.Image.fromarray(pixels).save(folder / "images" / f"{name}_{number}.png")
    sogclr_tf.export_towers(towers(), folder / "towers")
    return folder


def towers():
    """Of an image the mean of each channel, of a text a direction for each word."""
    images = [keras.Input((SIDE, SIDE, 3)), keras.layers.GlobalAveragePooling2D()]
    words = sogclr_tf.TextEncoder(["", "[UNK]", *COLORS], length=1, width=3, blocks=0, heads=1)
    built = sogclr_tf.TwoTowerSogCLR(
        keras.Sequential(images),
        words,
        sogclr_tf.CLIPLoss(),
        *(keras.layers.Dense(3, use_bias=False) for _ in range(2)),
    )
    # Less what all have, so that a color is one direction, as after the text's normalization.
    center = np.eye(3, dtype=np.float32) - 1 / 3
    for projector in (built.image_projector, built.text_projector):
        projector.set_weights([center])
    words.set_weights(
        [
            np.concatenate([np.zeros((2, 3), np.float32), np.eye(3, dtype=np.float32)])
            if weight.path.endswith("words/embeddings")
            else (np.zeros(weight.shape) if "places" in weight.path else np.asarray(weight))
            for weight in words.weights
        ]
    )
    return built


def run(place, *options, monkeypatch, capsys, images="images"):
    arguments = ["search.py", str(place / images), *options, f"--towers={place / 'towers'}"]
    monkeypatch.setattr(sys, "argv", [*arguments, f"--page={place / 'found.html'}"])
    search.main()
    return capsys.readouterr().out


@pytest.mark.slow(reason="towers are exported, and read four times")
def test_the_page_and_what_is_kept(place, monkeypatch, capsys):
    said = run(place, "red", "blue", f"--top={EACH}", monkeypatch=monkeypatch, capsys=capsys)
    assert "embedding 15 images" in said
    assert "compared with 15 images" in said
    html = (place / "found.html").read_text()
    red, blue = html.split("<h2>red</h2>")[1].split("<h2>blue</h2>")
    for section, color in ((red, "red"), (blue, "blue")):
        assert [f"{name}_" in section for name in COLORS] == [name == color for name in COLORS]
        assert section.count("<img") == EACH
    kept = place / "images.embeddings.npz"
    before = kept.stat().st_mtime_ns
    said = run(place, "green", monkeypatch=monkeypatch, capsys=capsys)
    assert "embedding" not in said.replace("embedded", "")
    assert kept.stat().st_mtime_ns == before
    kept.write_bytes(kept.read_bytes()[:100])
    said = run(place, "green", monkeypatch=monkeypatch, capsys=capsys)
    assert "cannot be read: it is made anew" in said
    (place / "images" / "red_0.png").rename(place / "images" / "red_9.png")
    said = run(place, "green", monkeypatch=monkeypatch, capsys=capsys)
    assert "of other images or towers: it is made anew" in said


def test_nearest_is_that_of_a_loop():
    random = np.random.default_rng(0)
    matrix = random.normal(size=(50, 7)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    rows, cosines = search.nearest(matrix, matrix[3], 5)
    every = sorted(range(50), key=lambda row: -sum(matrix[row] * matrix[3]))
    assert rows.tolist() == every[:5]
    assert cosines[0] == pytest.approx(1, abs=1e-6)
    assert len(search.nearest(matrix, matrix[3], 99)[0]) == 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top=0"], "--top is 0"),
        ([], "images"),
        (["--towers=nowhere"], "nowhere/image holds no exported tower"),
        (["--split=test", "--data_dir=nowhere"], "data_dir 'nowhere' is for names of TFDS sets"),
    ],
)
def test_one_clear_line(options, message, tmp_path, monkeypatch):
    for side in ("image", "text"):
        version = tmp_path / "towers" / side / "1"
        version.mkdir(parents=True)
        (version / "saved_model.pb").touch()
    arguments = ["search.py", str(tmp_path / "images"), "red", f"--towers={tmp_path / 'towers'}"]
    monkeypatch.setattr(sys, "argv", [*arguments, *options])
    with pytest.raises(SystemExit, match=message):
        search.main()
