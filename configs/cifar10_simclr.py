"""SimCLR on CIFAR-10, to compare with configs/cifar10.py: only the loss differs.

    python -m sogclr_tf.run --config=configs/cifar10_simclr.py --config.data.data_dir=DIR

Expected: 90.66% linear top-1 at batch 64 after 400 epochs, as the authors of SogCLR report (arXiv
2202.12387; github.com/Optimization-AI/SogCLR, branch cifar), where SogCLR has 91.78%. Cost: 312,400
steps, hours of an accelerator. It has not been run here.

Linear evaluation alone is the same command with --mode=evaluate; configs/cifar10.py says what it
does and holds, and where the learning rate is from.
"""

import pathlib
import runpy


def get_config():
    sibling = pathlib.Path(__file__).with_name("cifar10.py")
    config = runpy.run_path(str(sibling))["get_config"]()
    config.loss.name = "simclr"
    return config
