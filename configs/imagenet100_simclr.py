"""SimCLR on ImageNet-100, to compare with configs/imagenet100.py: only the loss differs.

    python tools/make_imagenet100.py IMAGENET imagenet100
    python -m sogclr_tf.run --config=configs/imagenet100_simclr.py --mode=train \\
        --strategy=mirrored --config.data.name=./imagenet100

Expected: 76.1% linear top-1 at batch 256 after 400 epochs, as the authors of SogCLR report
(arXiv 2202.12387) on another 100 classes, where SogCLR has 78.7%. Cost: 197,600 steps, as many as
configs/imagenet100.py, which says more of the classes. It has not been run here.

Linear evaluation is the same command with --mode=evaluate; configs/imagenet100.py says what it does
and holds.
"""

import pathlib
import runpy


def get_config():
    sibling = pathlib.Path(__file__).with_name("imagenet100.py")
    config = runpy.run_path(str(sibling))["get_config"]()
    config.loss.name = "simclr"
    return config
