"""Draws what the encoder sees under each policy that has a name: the sheets in docs/images.

    python tools/draw_views.py --data_dir=DIR [--folder=docs/images] [--size HEIGHT WIDTH]

Each sheet holds 16 images beside their two views, as a first epoch of training draws them: of
CIFAR-10 in DIR, as TFDS prepares it, for the policy made for it; for the others parts of
scikit-learn's two photographs, which overlap, in views of 224x224. --size draws all in another
size. Takes half a minute.
"""

import argparse
import io
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import PIL.Image
import sklearn.datasets

import sogclr_tf
from sogclr_tf.data import policies
from sogclr_tf.data.sources.open import from_name
from sogclr_tf.report.image_sheets import view_sheet

COUNT = 16
# Of a part, in pixels. A photograph of 427x640 holds 2 by 4 of them.
SIDE = 240
TOPS, LEFTS = (0, 187), (0, 133, 266, 400)


def photographs():
    """16 parts of two photographs: uint8 [16, SIDE, SIDE, 3]."""
    return np.stack(
        [
            image[top : top + SIDE, left : left + SIDE]
            for image in sklearn.datasets.load_sample_images().images
            for top in TOPS
            for left in LEFTS
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", required=True, help="where TFDS keeps CIFAR-10")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("docs/images"))
    parser.add_argument("--size", type=int, nargs=2, help="of all views, HEIGHT WIDTH")
    options = parser.parse_args()
    cifar = from_name("cifar10", f"test[:{COUNT}]", options.data_dir)
    for name, source, size in (
        ("simclr", photographs(), 224),
        ("simclr-cifar", cifar, 32),
        ("byol", photographs(), 224),
    ):
        policy, policy_b = policies.by_name(name, options.size or size)
        views = sogclr_tf.training_views(source, batch_size=COUNT, policy=policy, policy_b=policy_b)
        path = options.folder / f"views-{name}.jpg"
        sheet = io.BytesIO()
        view_sheet(*views.samples(COUNT), sheet)
        # Photographs of this size would make a PNG of 700 KiB.
        PIL.Image.open(sheet).convert("RGB").save(path, quality=85)
        print(f"{path}  {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
