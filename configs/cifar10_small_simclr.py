"""SimCLR on CIFAR-10 at the size of configs/cifar10_small.py: only the loss differs.

    python -m sogclr_tf.run --config=configs/cifar10_small_simclr.py --config.data.data_dir=DIR

Expected: no figure was measured here yet; SogCLR has 60.3% linear and 54.5% kNN top-1, an untrained
encoder 27.3% and 24.5%. Cost: 6,248 steps, a quarter of an hour on 2 CPU cores, evaluation
included, as of the sibling.

Linear evaluation alone is the same command with --mode=evaluate; the set is small, so that it holds
the features and fits a linear layer to all of them (--config.evaluation.linear=lbfgs). sgd in its
place is the papers' way, which streams the images.
"""

import pathlib
import runpy


def get_config():
    sibling = pathlib.Path(__file__).with_name("cifar10_small.py")
    config = runpy.run_path(str(sibling))["get_config"]()
    config.loss.name = "simclr"
    return config
