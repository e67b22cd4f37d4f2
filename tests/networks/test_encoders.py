"""Encoders by name, and what is said of a name that is none."""

import pytest

from sogclr_tf.networks.encoders import build_encoder, encoder_names, encoder_options


def test_own_encoders_by_name():
    assert encoder_names() == (
        *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        *("small_resnet", "vit_tiny", "vit_small", "vit_base"),
    )
    encoder = build_encoder("resnet18", (32, 32, 3), stem="cifar", name="encoder")
    assert encoder.name == "encoder"
    assert encoder.get_layer("stem_conv").strides == (1, 1)
    for name in ("MobileNet", "keras.applications.MobileNet"):
        assert build_encoder(name, (32, 32, 3), alpha=0.25).output_shape == (None, 256)
    assert build_encoder("small_resnet", (16, 16, 3), widths=[4, 6]).output_shape == (None, 6)


@pytest.mark.parametrize("name", encoder_names())
def test_options_are_those_of_the_function(name):
    options = encoder_options(name)
    assert ("patch_size" if name.startswith("vit_") else "normalization") in options
    assert not {"size", "input_shape"} & set(options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "resnet20",
            {},
            r"encoder 'resnet20' is unknown, perhaps resnet50: choose one of resnet18",
        ),
        ("mobilenetv3smal", {}, "is unknown, perhaps MobileNetV3Small: choose one of"),
        ("keras.applications.resnet50v3", {}, "is unknown, perhaps ResNet50V2: choose one of"),
        ("MobileNet", {"widths": 8}, "'MobileNet' has no option widths; its options are alpha, "),
        ("vit_tny", {}, "is unknown, perhaps vit_tiny: choose one of"),
        ("vit_tiny", {"patch_size": 5}, "patch_size 5 does not divide images of 32 x 32: take im"),
        ("nothing", {}, r"'nothing' is unknown: choose .*, or MODULE:FUNCTION of your own$"),
        (
            "resnet18",
            {"widths": (8,)},
            r"'resnet18' has no option widths; its options are width_multiplier, stem, "
            "normalization, padding, stride_in, shortcuts, input_normalization, name",
        ),
        (
            "small_resnet",
            {"stem": "cifar", "depth": 3},
            r"no option stem, depth; its options are widths, blocks_per_stage, stem_stride, "
            "normalization, name",
        ),
    ],
)
def test_errors_say_what_to_do(name, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        build_encoder(name, (32, 32, 3), **options)
    assert "\n" not in str(caught.value)
