"""SogCLR on CIFAR-10 at a size that two CPU cores train in about a quarter of an hour.

    python -m sogclr_tf.run --config=configs/cifar10_small.py --config.data.data_dir=DIR

DIR holds CIFAR-10 as tensorflow_datasets prepares it; without the flag TFDS downloads it.

8 epochs took 15 minutes on 2 CPU cores, evaluation included, and gave 60.3% linear and 54.5% kNN
(of 200) top-1 on the 10,000 test images; the untrained encoder has 27.3% and 24.5%. The online
probe ends at 55.9% on 1,024 of them. The same command with --mode=evaluate evaluates it again.
"""

from sogclr_tf.experiment.config import default_config


def get_config():
    config = default_config()

    config.data.name = "cifar10"

    config.augment.min_area = 0.2  # short trainings do not profit from harder crops
    config.augment.strength = 0.5  # SimCLR's for CIFAR-10

    config.encoder.name = "small_resnet"
    config.encoder.widths = (32, 64, 128, 256)
    config.encoder.blocks_per_stage = 1
    config.encoder.stem_stride = 2

    config.loss.temperature = 0.2

    config.epochs = 8

    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 2e-3
    config.optimizer.scaling = "constant"
    config.optimizer.weight_decay = 0.0
    config.optimizer.warmup_epochs = 0.5

    config.checkpoint.every_epochs = 1

    config.monitor.every_epochs = 1
    config.monitor.bank = 2048
    config.monitor.queries = 1024
    return config
