"""A network of each family of keras.applications, the cheapest of those that names reach."""

from sogclr_tf.networks.keras_applications import application

# {module: (name, options, least size)}
FAMILIES = {
    "convnext": ("ConvNeXtTiny", {}, 32),
    "densenet": ("DenseNet121", {}, 32),
    "efficientnet": ("EfficientNetB0", {}, 32),
    "efficientnet_v2": ("EfficientNetV2B0", {}, 32),
    "inception_resnet_v2": ("InceptionResNetV2", {}, 75),
    "inception_v3": ("InceptionV3", {}, 75),
    "mobilenet": ("MobileNet", {"alpha": 0.25}, 32),
    "mobilenet_v2": ("MobileNetV2", {"alpha": 0.35}, 32),
    "mobilenet_v3": ("MobileNetV3Small", {"alpha": 0.75, "minimalistic": True}, 32),
    "nasnet": ("NASNetMobile", {}, 32),
    "resnet": ("ResNet50", {}, 32),
    "resnet_v2": ("ResNet50V2", {}, 32),
    "vgg16": ("VGG16", {}, 32),
    "vgg19": ("VGG19", {}, 32),
    "xception": ("Xception", {}, 71),
}


def of_family(family, channels=3, **options):
    """The network of a family for images of its least size."""
    name, own, size = FAMILIES[family]
    return application(name, input_shape=(size, size, channels), **own, **options)
