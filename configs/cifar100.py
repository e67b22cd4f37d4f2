"""SogCLR on CIFAR-100 by the recipe of CIFAR-10: ResNet-50, batch 64, 400 epochs.

    python -m sogclr_tf.run --config=configs/cifar100.py --config.data.data_dir=DIR

Expected: no figure is known here. The authors of arXiv 2202.12387 offer this data set with the same
settings (github.com/Optimization-AI/SogCLR, branch cifar), but publish none there. Cost: 312,400
steps, 40 million views of 32x32, which is hours of an accelerator. It has not been run here. With
--config.encoder.name=resnet18, which many papers take for CIFAR-100, a step is several times
cheaper.

configs/cifar10.py says where the learning rate and the jitter are from.

Linear evaluation alone is the same command with --mode=evaluate: SGD with momentum trains a linear
layer on the frozen encoder for 90 epochs. It streams the images and holds no features; kNN holds
those of its bank, 50,000 x 2,048 float32 = 0.4 GB.
"""

from sogclr_tf.experiment.config import default_config


def get_config():
    config = default_config()

    config.data.name = "cifar100"

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
