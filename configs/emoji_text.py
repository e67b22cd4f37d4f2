"""Images and their names in one space: two-way SogCLR on 1,713 Noto emoji.

    python -m sogclr_tf.run --config=configs/emoji_text.py --config.data.data_dir=DIR

DIR holds the set in TFDS form: 64x64 images with their Unicode names as "caption" and 9 categories
as "label". It takes about 90 seconds of CPU time and ends at recall@10 of 39.4% (image to text) and
42.0% (text to image) on the 193 test pairs, where chance is 5.2%. These are new to both towers, and
many of their names hold words that no training name has. `--config.loss.name=clip` is the baseline,
which does no worse on so small a set: see docs/image_text.md.
"""

import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.seed = 0

    config.data = ml_collections.ConfigDict()
    config.data.name = "emoji"  # or any data set of TFDS with an image and a text
    config.data.data_dir = ml_collections.config_dict.placeholder(str)  # where TFDS keeps it
    config.data.text = "caption"  # the feature that holds the text
    config.data.train_split = "train"
    config.data.test_split = "test"
    config.data.image_size = 32  # of a view: half the emoji's side, for a quarter of the cost

    config.augment = ml_collections.ConfigDict()  # mild: the text speaks of colours and sides
    config.augment.min_area = 0.6
    config.augment.max_aspect = 4 / 3
    config.augment.flip = 0.0
    config.augment.jitter = 0.5
    config.augment.strength = 0.3
    config.augment.grey = 0.0
    config.augment.blur = 0.0
    config.augment.solarise = 0.0

    config.encoder = ml_collections.ConfigDict()
    config.encoder.name = "small_resnet"
    config.encoder.widths = (16, 32, 64)
    config.encoder.blocks_per_stage = 1
    config.encoder.stem_stride = 2

    config.text_encoder = ml_collections.ConfigDict()
    config.text_encoder.max_tokens = 20_000  # of the vocabulary, at most
    config.text_encoder.length = 12  # words of a text that are read
    config.text_encoder.width = 64
    config.text_encoder.blocks = 1
    config.text_encoder.heads = 4
    config.text_encoder.dropout = 0.0

    config.projector = ml_collections.ConfigDict()
    config.projector.output = 128

    config.loss = ml_collections.ConfigDict()
    config.loss.name = "two_way"  # or clip
    config.loss.temperature = 0.1  # where it starts, if it is learnt
    config.loss.temperature_scheme = "global"  # learnt; or constant; of two_way also individual
    config.loss.min_temperature = 0.01
    config.loss.max_temperature = 1.0
    config.loss.gamma = 0.2  # this and what follows: of two_way alone
    config.loss.gamma_decay = 0.5  # share of training over which gamma falls from 1; 0: constant
    config.loss.rho = 3.0
    config.loss.eta = 0.001
    config.loss.beta = 0.9

    config.batch_size = 32
    config.epochs = 25
    config.steps_per_execution = 1
    config.precision = "float32"

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.scaling = "constant"  # of the rate with the batch size
    config.optimizer.weight_decay = 1e-2
    config.optimizer.warmup_epochs = 2.0

    config.checkpoint = ml_collections.ConfigDict()
    config.checkpoint.every_epochs = 5
    config.checkpoint.every_steps = 0  # more often than that; 0: not
    config.checkpoint.keep = 3

    config.export = ml_collections.ConfigDict()
    config.export.keep = 3  # of the newest versions; 0: all
    return config
