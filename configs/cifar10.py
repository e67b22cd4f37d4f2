"""SogCLR on CIFAR-10 as the authors trained it: ResNet-50, batch 64, 400 epochs.

    python -m sogclr_tf.run --config=configs/cifar10.py --config.data.data_dir=DIR

Expected: 91.78% linear top-1, as the authors of arXiv 2202.12387 report of their PyTorch code
(github.com/Optimization-AI/SogCLR, branch cifar), where SimCLR has 90.66%. Cost: 312,400 steps, 40
million views of 32x32, which is hours of an accelerator. It has not been run to its end here.

The authors' page gives the learning rate as 1.0 * batch / 256 in words (0.25) and as 1.0 *
sqrt(batch) in its command (8); taken is 1.0 as it stands, which lies between them.
--config.optimizer.scaling=linear or sqrt is either.

Linear evaluation alone is the same command with --mode=evaluate: SGD with momentum trains a linear
layer on the frozen encoder for 90 epochs. It streams the images and holds no features; kNN holds
those of its bank, 50,000 x 2,048 float32 = 0.4 GB.
"""

import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.seed = 0

    config.data = ml_collections.ConfigDict()
    config.data.name = "cifar10"
    config.data.data_dir = ml_collections.config_dict.placeholder(str)  # where TFDS keeps it
    config.data.on_error = "raise"  # at an image that cannot be decoded; or skip it
    config.data.service = ""  # grpc://HOST:PORT of a tf.data service; empty: none
    config.data.train_split = "train"
    config.data.test_split = "test"
    config.data.image_size = 32
    config.data.features = ml_collections.ConfigDict()  # their names in TFRecord files
    config.data.features.image = "image/encoded"
    config.data.features.label = "image/class/label"
    config.data.features.index = ""

    config.augment = ml_collections.ConfigDict()
    config.augment.min_area = 0.08
    config.augment.max_aspect = 4 / 3
    config.augment.flip = 0.5
    config.augment.jitter = 0.8
    config.augment.strength = 0.5  # SimCLR's for CIFAR-10
    config.augment.saturation = 0.8  # of the strength
    config.augment.grey = 0.2
    config.augment.blur = 0.0
    config.augment.solarise = 0.0
    # Of view b, where it is to differ: None is as above.
    placeholder = ml_collections.config_dict.placeholder
    config.augment_b = ml_collections.ConfigDict({k: placeholder(float) for k in config.augment})

    config.encoder = ml_collections.ConfigDict()
    config.encoder.name = "resnet50"
    config.encoder.stem = "cifar"

    config.projector = ml_collections.ConfigDict()
    config.projector.layers = 2
    config.projector.output = 128

    config.loss = ml_collections.ConfigDict()
    config.loss.name = "sogclr"
    config.loss.temperature = 0.3
    config.loss.negatives = "both"  # views of the other examples, or those of the "other" side
    config.loss.gamma = 0.9  # this and what follows: of sogclr and isogclr alone
    config.loss.gamma_decay = 0.0  # share of training over which gamma falls from 1; 0: constant
    config.loss.rho = 0.3  # this and what follows: of isogclr alone
    config.loss.eta = 0.01
    config.loss.beta = 0.9
    config.loss.min_temperature = 0.05
    config.loss.max_temperature = 0.7

    config.batch_size = 64
    config.epochs = 400
    config.steps_per_execution = 1
    config.precision = "float32"

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = "lars"
    config.optimizer.learning_rate = 1.0
    config.optimizer.scaling = "constant"  # of the rate with the batch size
    config.optimizer.weight_decay = 1e-4
    config.optimizer.warmup_epochs = 10.0

    config.checkpoint = ml_collections.ConfigDict()
    config.checkpoint.every_epochs = 10
    config.checkpoint.every_steps = 0
    config.checkpoint.keep = 3

    config.monitor = ml_collections.ConfigDict()  # beside training, of labelled images
    config.monitor.probe_rate = 1e-3  # Adam's, of the online linear probe; 0: no probe
    config.monitor.every_epochs = 10  # kNN and probe on test images; 0: never
    config.monitor.bank = 8192  # training images that vote, at most
    config.monitor.queries = 2048  # test images, at most
    # Labelled images for probe and kNN, where the data's own have no labels.
    config.monitor.data = ml_collections.ConfigDict()
    config.monitor.data.name = ""  # empty: as data.name
    config.monitor.data.data_dir = ml_collections.config_dict.placeholder(str)
    config.monitor.data.train_split = "train"
    config.monitor.data.test_split = "test"

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.knn_neighbours = (20, 200)
    config.evaluation.knn_temperature = 0.07
    config.evaluation.linear = "sgd"  # or lbfgs, for small sets; none: left out
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
