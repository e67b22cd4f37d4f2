"""SogCLR on ImageNet-1K with the views of the authors' PyTorch code; else as configs/imagenet.py.

    python -m sogclr_tf.run --config=configs/imagenet_pytorch.py --mode=train --strategy=tpu \\
        --tpu=local --config.data.data_dir=gs://BUCKET/tensorflow_datasets --workdir=runs/pytorch

Expected: 69.0% linear top-1, as the authors report of their PyTorch code
(github.com/Optimization-AI/SogCLR), where their TensorFlow code has 69.3%. Cost: 4,003,200 steps,
as configs/imagenet.py, days of accelerators. It has not been run here.

That code goes by MoCo's. Both views have a jitter that is "not strengthened", of half SimCLR's
brightness, contrast and hue and a quarter of its saturation, and are always blurred. Its linear
evaluation, with --mode=evaluate, takes 1,024 images at a time, at 0.1 * batch / 256 for 90 epochs.
Its 80.0% of ImageNet-100 in 400 epochs are these views with the data of configs/imagenet100.py:
--config.data.name=./imagenet100 --config.data.test_split=val --config.epochs=400.
"""

import pathlib
import runpy


def get_config():
    sibling = pathlib.Path(__file__).with_name("imagenet.py")
    config = runpy.run_path(str(sibling))["get_config"]()

    config.augment.strength = 0.5
    config.augment.saturation = 0.4
    config.augment.blur = 1.0

    config.evaluation.linear_batch_size = 1024
    return config
