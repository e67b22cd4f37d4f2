"""Encoders of every kind, of which the same is promised."""

import functools

import keras
from support import applications

import sogclr_tf

layers = keras.layers


def own_function(input_shape=(16, 16, 3), width=8):
    """What `module:function` names: a functional model of one's own."""
    images = keras.Input(input_shape)
    x = layers.Conv2D(width, 3, strides=2, activation="relu")(images)
    x = layers.BatchNormalization(synchronized=True)(x)
    return keras.Model(images, layers.GlobalAveragePooling2D()(x), name="own_function")


@keras.saving.register_keras_serializable(package="test_encoders")
class Subclassed(keras.Model):
    """A model of which only its call tells what follows what."""

    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.conv = layers.Conv2D(width, 3, strides=2, activation="relu")
        self.norm = layers.BatchNormalization(synchronized=True)
        self.pool = layers.GlobalAveragePooling2D(dtype="float32")

    def call(self, images, training=False):
        return self.pool(self.norm(self.conv(images), training=training))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def frozen():
    """The stem stays as it is, its running averages too."""
    encoder = sogclr_tf.small_resnet(widths=(8, 16), input_shape=(16, 16, 3))
    for layer in encoder.layers:
        layer.trainable = not layer.name.startswith("stem")
    return encoder


def random_depth():
    """Pixels of 0..255, dropout, and a residual that is left out of some images' sums."""
    images = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(images)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    for rate in (0.2, 0.4):
        residual = layers.Conv2D(8, 3, padding="same")(x)
        residual = layers.BatchNormalization(synchronized=True)(residual)
        x = layers.Add()([x, layers.Dropout(rate, noise_shape=(None, 1, 1, 1))(residual)])
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, x, name="random_depth")


def resnet18():
    return sogclr_tf.ResNet(18, stem="cifar", input_shape=(16, 16, 3))


def small_resnet():
    return sogclr_tf.small_resnet(widths=(8, 16), input_shape=(16, 16, 3))


def vit(**options):
    return sogclr_tf.ViT("tiny", patch_size=4, depth=2, input_shape=(16, 16, 3), **options)


# {name: (function that builds it, side of its images, further arguments of `SogCLR`)}
ENCODERS = {
    "own_function": (own_function, 16, {}),
    "subclassed": (Subclassed, 16, {}),
    "frozen": (frozen, 16, {}),
    "random_depth": (random_depth, 16, {"encoder_range": 255}),
    "small_resnet": (small_resnet, 16, {}),
    "resnet18": (resnet18, 16, {}),
    "vit": (functools.partial(vit, freeze_patches=True), 16, {}),
    "vit_mean": (functools.partial(vit, pooling="mean", positions="learned"), 16, {}),
} | {
    family: (functools.partial(applications.of_family, family), size, {})
    for family, (_, _, size) in applications.FAMILIES.items()
}
