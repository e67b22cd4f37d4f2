"""JPEG files of a camera's sizes, made of scikit-learn's two photographs."""

import io

import numpy as np
import sklearn.datasets
from PIL import Image

# Megapixels: (height, width).
SIZES = {0.3: (480, 640), 3: (1536, 2048), 12: (3000, 4000), 48: (6000, 8000)}
NOISE, QUALITY = 3.0, 90
FILES = 16


def photograph(image, size, seed=0):
    """An image enlarged to (height, width), with noise where that is large: uint8."""
    height, width = size
    large = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    if height * width < 1e6:
        return np.asarray(large)
    noise = np.random.default_rng(seed).normal(0, NOISE, (height, width, 1)).astype(np.float32)
    return np.clip(np.asarray(large, np.float32) + noise + 0.5, 0, 255).astype(np.uint8)


def jpeg(image, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=QUALITY, **options)
    return file.getvalue()


def written(folder, megapixels):
    """A folder of FILES files, links to those of the two photographs; and one, progressive."""
    folder.mkdir()
    (folder / "all").mkdir()
    (folder / "progressive").mkdir()
    for number, image in enumerate(sklearn.datasets.load_sample_images().images):
        large = photograph(image[:, 35:604], SIZES[megapixels])
        (folder / "all" / f"{number:02}.jpg").write_bytes(jpeg(large))
        if not number:
            (folder / "progressive" / "0.jpg").write_bytes(jpeg(large, progressive=True))
            (folder / "progressive" / "1.jpg").hardlink_to(folder / "progressive" / "0.jpg")
    for number in range(2, FILES):
        (folder / "all" / f"{number:02}.jpg").hardlink_to(folder / "all" / f"{number % 2:02}.jpg")
    return folder
