"""SimCLR on ImageNet-1K, to compare with configs/imagenet.py: only the loss differs.

    python -m sogclr_tf.run --config=configs/imagenet_simclr.py --mode=train --strategy=tpu \\
        --tpu=local --config.data.data_dir=gs://BUCKET/tensorflow_datasets

Expected: 66.5% linear top-1 at batch 256 after 800 epochs, as the authors of SogCLR report
(arXiv 2202.12387), where SogCLR has 69.3%. Cost: 4,003,200 steps, days of accelerators. It has not
been run here.

Linear evaluation is the same command with --mode=evaluate; configs/imagenet.py says what it does
and holds.
"""

import pathlib
import runpy


def get_config():
    sibling = pathlib.Path(__file__).with_name("imagenet.py")
    config = runpy.run_path(str(sibling))["get_config"]()
    config.loss.name = "simclr"
    return config
