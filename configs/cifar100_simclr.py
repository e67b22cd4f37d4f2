"""SimCLR on CIFAR-100, to compare with configs/cifar100.py: only the loss differs.

    python -m sogclr_tf.run --config=configs/cifar100_simclr.py --config.data.data_dir=DIR

Expected: no figure is known here. Cost: 312,400 steps, hours of an accelerator. It has not been run
here. --config.encoder.name=resnet18 takes a smaller encoder; give it to both.

Linear evaluation alone is the same command with --mode=evaluate; configs/cifar10.py says what it
does and holds, and where the learning rate is from.
"""

import pathlib
import runpy


def get_config():
    sibling = pathlib.Path(__file__).with_name("cifar100.py")
    config = runpy.run_path(str(sibling))["get_config"]()
    config.loss.name = "simclr"
    return config
