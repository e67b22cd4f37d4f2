"""SogCLR on CIFAR-10 as the authors trained it: ResNet-50, batch 64, 400 epochs.

    python -m sogclr_tf.run --config=configs/cifar10.py --config.data.data_dir=DIR

Expected: 91.78% linear top-1, as the authors of arXiv 2202.12387 report of their PyTorch code
(github.com/Optimization-AI/SogCLR, branch cifar), where SimCLR has 90.66%. Cost: 312,400 steps, 40
million views of 32x32, which is hours of an accelerator. It has not been run to its end here.

The rate is that of the authors' command, 1.0 * sqrt(batch) = 8.0. Their page says 1.0 * batch / 256
in words (0.25), the default of their program, which the command overrules; that is
--config.optimizer.scaling=linear. The jitter is theirs too: saturation by half of what SimCLR has.

Linear evaluation alone is the same command with --mode=evaluate: SGD with momentum trains a linear
layer on the frozen encoder for 90 epochs. It streams the images and holds no features; kNN holds
those of its bank, 50,000 x 2,048 float32 = 0.4 GB.
"""

from sogclr_tf.experiment.config import default_config


def get_config():
    config = default_config()

    config.data.name = "cifar10"

    config.augment.strength = 0.5
    config.augment.saturation = 0.4

    config.encoder.name = "resnet50"
    config.encoder.stem = "cifar"

    config.loss.temperature = 0.3

    config.batch_size = 64
    config.epochs = 400

    config.optimizer.name = "lars"
    config.optimizer.learning_rate = 1.0
    config.optimizer.scaling = "sqrt"
    config.optimizer.weight_decay = 1e-4

    config.evaluation.linear = "sgd"
    return config
