"""SogCLR on scikit-learn's handwritten digits: what runs when no config is named.

    python -m sogclr_tf.run

1,198 real images of 8x8 pixels for training, 599 for testing; nothing is downloaded. It shows the
whole path in two minutes on 2 CPU cores and ends at 96.3% linear and 95.3% kNN top-1, where the
untrained encoder has 79.1% and 65.4%. It proves nothing about the method: the digits are nearly
separable as they are.
"""

import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.seed = 0

    config.data = ml_collections.ConfigDict()
    config.data.name = "digits"  # or a TFDS name, ./FOLDER, ./{split}-*.tfrecord
    config.data.data_dir = ml_collections.config_dict.placeholder(str)  # where TFDS keeps it
    config.data.on_error = "raise"  # at an image that cannot be decoded; or skip it
    config.data.service = ""  # grpc://HOST:PORT of a tf.data service; empty: none
    config.data.train_split = "train"
    config.data.test_split = "test"
    config.data.image_size = 16  # of a view; digits are drawn twice their size
    config.data.features = ml_collections.ConfigDict()  # their names in TFRecord files
    config.data.features.image = "image/encoded"
    config.data.features.label = "image/class/label"  # empty: none
    config.data.features.index = ""  # empty: the place in the files

    config.augment = ml_collections.ConfigDict()
    config.augment.min_area = 0.4  # an 8% crop of a digit is no digit
    config.augment.max_aspect = 4 / 3
    config.augment.flip = 0.0  # a mirrored digit is another sign
    config.augment.jitter = 0.8
    config.augment.strength = 0.5
    config.augment.saturation = 0.8  # of the strength
    config.augment.grey = 0.0
    config.augment.blur = 0.0
    config.augment.solarise = 0.0
    # Of view b, where it is to differ: None is as above.
    placeholder = ml_collections.config_dict.placeholder
    config.augment_b = ml_collections.ConfigDict({k: placeholder(float) for k in config.augment})

    config.encoder = ml_collections.ConfigDict()
    config.encoder.name = "small_resnet"
    config.encoder.widths = (32, 64, 128)
    config.encoder.blocks_per_stage = 1
    config.encoder.stem_stride = 1

    config.projector = ml_collections.ConfigDict()
    config.projector.layers = 2
    config.projector.output = 128

    config.loss = ml_collections.ConfigDict()
    config.loss.name = "sogclr"
    config.loss.temperature = 0.2
    config.loss.negatives = "both"  # views of the other examples, or those of the "other" side
    config.loss.gamma = 0.9  # this and what follows: of sogclr and isogclr alone
    config.loss.gamma_decay = 0.0  # share of training over which gamma falls from 1; 0: constant
    config.loss.rho = 0.3  # this and what follows: of isogclr alone
    config.loss.eta = 0.01
    config.loss.beta = 0.9
    config.loss.min_temperature = 0.05
    config.loss.max_temperature = 0.7

    config.batch_size = 64
    config.epochs = 30
    config.steps_per_execution = 1
    config.precision = "float32"

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.scaling = "constant"  # of the rate with the batch size
    config.optimizer.weight_decay = 0.0
    config.optimizer.warmup_epochs = 2.0

    config.checkpoint = ml_collections.ConfigDict()
    config.checkpoint.every_epochs = 10
    config.checkpoint.every_steps = 0  # more often than that; 0: not
    config.checkpoint.keep = 3

    config.monitor = ml_collections.ConfigDict()  # beside training, of labelled images
    config.monitor.probe_rate = 1e-3  # Adam's, of the online linear probe; 0: no probe
    config.monitor.every_epochs = 10  # kNN and probe on test images; 0: never
    config.monitor.bank = 1024  # training images that vote, at most
    config.monitor.queries = 512  # test images, at most
    # Labelled images for probe and kNN, where the data's own have no labels.
    config.monitor.data = ml_collections.ConfigDict()
    config.monitor.data.name = ""  # empty: as data.name
    config.monitor.data.data_dir = ml_collections.config_dict.placeholder(str)
    config.monitor.data.train_split = "train"
    config.monitor.data.test_split = "test"

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.knn_neighbours = (20, 200)
    config.evaluation.knn_temperature = 0.07
    config.evaluation.linear = "lbfgs"  # or sgd, the papers' recipe; none: left out
    config.evaluation.linear_rate = 0.1  # this and what follows: of sgd, at batch 256
    config.evaluation.linear_batch_size = 256
    config.evaluation.linear_epochs = 90
    config.evaluation.fine_tune = ()  # percent of the labels, such as (1, 10, 100)
    # Another set to judge on, for transfer.
    config.evaluation.data = ml_collections.ConfigDict()
    config.evaluation.data.name = ""  # empty: as data.name
    config.evaluation.data.data_dir = ml_collections.config_dict.placeholder(str)
    config.evaluation.data.train_split = "train"
    config.evaluation.data.test_split = "test"

    config.export = ml_collections.ConfigDict()
    config.export.keep = 3  # of the newest versions; 0: all
    config.export.weights = "float32"  # of the kernels in the file; or bfloat16, float16
    config.export.warmup = ()  # batch sizes of TF Serving's first requests, such as (1, 8)
    config.export.tflite = False  # a TFLite file with 8-bit kernels besides
    return config
