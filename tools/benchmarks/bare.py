"""The step that a training cannot go below: two views through a network, a loss, SGD; no more.

No data, no metrics, no probe, no table: tensors that lie in memory, and NT-Xent in a few lines.
"""

import keras
import numpy as np
import tensorflow as tf

import sogclr_tf
from sogclr_tf.networks import encoders, resnet

RATE, MOMENTUM, TEMPERATURE = 1e-3, 0.9, 0.1


def encoder(options):
    """The encoder that the command line names, with the stem for small images."""
    shape = (options.side, options.side, 3)
    if options.encoder == "small_resnet":
        return sogclr_tf.small_resnet(
            widths=options.widths, stem_stride=options.stem_stride, input_shape=shape
        )
    stem = {"stem": "cifar"} if options.encoder.startswith("resnet") else {}
    return encoders.build_encoder(options.encoder, shape, **stem)


def add_network_arguments(parser):
    parser.add_argument("--encoder", default="resnet18", help="as config.encoder.name")
    parser.add_argument(
        "--widths", type=int, nargs="+", default=[32, 64, 128, 256], help="of small_resnet alone"
    )
    parser.add_argument("--stem_stride", type=int, default=2, help="of small_resnet alone")
    parser.add_argument("--side", type=int, default=32, help="pixels of a view")
    parser.add_argument("--batch", type=int, default=64, help="B")


def views(options):
    """Two views of B images: uint8 [2, B, side, side, 3], as a stream gives them."""
    shape = (2, options.batch, options.side, options.side, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def as_floats(options):
    """Both views of all images in one batch: float32 [2B, side, side, 3] in 0..1."""
    images = views(options).reshape(-1, options.side, options.side, 3)
    return images.astype(np.float32) / 255


def keras_step(options, synchronized=True):
    """A function that takes one step of the network in Keras.

    Args:
        options: of the command line.
        synchronized: as in the package; False is what Keras's BatchNormalization does by itself.
    """
    parts = [encoder(options)]
    parts.append(sogclr_tf.projection_head(parts[0].output_shape[-1]))
    if not synchronized:
        parts = [keras.models.clone_model(part, clone_function=_own_statistics) for part in parts]
    images = tf.constant(as_floats(options))
    weights = [weight for part in parts for weight in part.trainable_variables]
    optimizer = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    optimizer.build(weights)

    @tf.function
    def compiled():
        with tf.GradientTape() as tape:
            features = parts[0](images, training=True)
            loss = _nt_xent(parts[1](features, training=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return lambda: float(compiled())


def _own_statistics(layer):
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        config["synchronized"] = False
    return type(layer).from_config(config)


def _nt_xent(projections):
    z = tf.math.l2_normalize(projections, axis=1)
    count = projections.shape[0]
    logits = tf.matmul(z, z, transpose_b=True) / TEMPERATURE - 1e9 * tf.eye(count)
    positives = tf.roll(tf.range(count), count // 2, 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(positives, logits)
    return tf.reduce_mean(losses)


def torch_step(options):
    """A function that takes one step in PyTorch, channels last. Raises ImportError without it."""
    from benchmarks import torch_step

    return torch_step.step(as_floats(options), layout(options))


def layout(options):
    """The residual network that the command line names, as `torch_network.Network` is told it."""
    if options.encoder == "small_resnet":
        blocks, bottleneck = [1] * len(options.widths), False
        widths, stem_stride = options.widths, options.stem_stride
    else:
        bottleneck, blocks = resnet.stages()[int(options.encoder.removeprefix("resnet"))]
        widths, stem_stride = [64, 128, 256, 512], 1
    return {
        "widths": list(widths),
        "blocks": list(blocks),
        "bottleneck": bottleneck,
        "stem_stride": stem_stride,
    }
