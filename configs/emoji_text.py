"""Images and their names in one space: two-way SogCLR on 1,713 Noto emoji.

    python -m sogclr_tf.run --config=configs/emoji_text.py --config.data.data_dir=DIR

DIR holds the set in TFDS form: 64x64 images with their Unicode names as "caption" and 9 categories
as "label". It takes about 90 seconds of CPU time and ends at recall@10 of 39.4% (image to text) and
42.0% (text to image) on the 193 test pairs, where chance is 5.2%. These are new to both towers, and
many of their names hold words that no training name has. `--config.loss.name=clip` is the baseline,
which does no worse on so small a set: see docs/image_text.md.
"""

from sogclr_tf.experiment.config import default_config


def get_config():
    config = default_config()

    config.data.name = "emoji"  # or any data set of TFDS with an image and a text
    config.data.text = "caption"
    config.data.image_size = 32  # half the emoji's side, for a quarter of the cost

    config.augment.min_area = 0.6  # mild: the text speaks of colors and sides
    config.augment.flip = 0.0
    config.augment.jitter = 0.5
    config.augment.strength = 0.3
    config.augment.grayscale = 0.0

    config.encoder.name = "small_resnet"
    config.encoder.widths = (16, 32, 64)
    config.encoder.blocks_per_stage = 1
    config.encoder.stem_stride = 2

    config.loss.name = "two_way"  # or clip
    config.loss.temperature = 0.1
    config.loss.temperature_scheme = "global"
    config.loss.min_temperature = 0.01
    config.loss.max_temperature = 1.0
    config.loss.gamma = 0.2
    config.loss.gamma_decay = 0.5
    config.loss.rho = 3.0
    config.loss.eta = 0.001

    config.batch_size = 32
    config.epochs = 25

    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.scaling = "constant"
    config.optimizer.weight_decay = 1e-2
    config.optimizer.warmup_epochs = 2.0

    config.checkpoint.every_epochs = 5
    return config
