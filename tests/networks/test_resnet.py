"""ResNets: the published sizes, strides, shortcuts and initial weights."""

import keras
import numpy as np
import pytest
from support.bfloat16 import needs_bfloat16
from support.exhaustive import exhaustive
from support.numerics import assert_close

from sogclr_tf import ResNet, small_resnet
from sogclr_tf.networks import resnet

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
TRAINABLE_PARAMETERS = {
    18: 11_176_512,
    34: 21_284_672,
    50: 23_508_032,
    101: 42_500_160,
    152: 58_143_808,
}


def images(*shape):
    return np.random.default_rng(0).uniform(size=shape).astype("float32")


def trainable_parameters(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)


def output_shape(model, layer):
    return model.get_layer(layer).output.shape


DEEP = pytest.mark.slow(reason="a network, or data, of full size")


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        pytest.param(*item, marks=DEEP if item[0] > 50 else [])
        for item in TRAINABLE_PARAMETERS.items()
    ],
)
def test_trainable_parameters_are_the_published_ones(depth, expected):
    model = ResNet(depth)
    assert trainable_parameters(model) == expected
    assert model.output_shape == (None, 512 if depth < 50 else 2048)


def test_imagenet_stem_divides_positions_by_32():
    model = ResNet(18, input_shape=(64, 64, 3))
    assert output_shape(model, "stem_conv") == (None, 32, 32, 64)
    assert output_shape(model, "stem_pool") == (None, 16, 16, 64)
    assert output_shape(model, "stage4_block2_relu") == (None, 2, 2, 512)
    features = model(images(2, 64, 64, 3))
    assert features.shape == (2, 512)
    assert np.all(np.isfinite(features))


def test_cifar_stem_divides_positions_by_8():
    model = ResNet(18, stem="cifar", input_shape=(32, 32, 3))
    assert output_shape(model, "stem_conv") == (None, 32, 32, 64)
    assert output_shape(model, "stage4_block2_relu") == (None, 4, 4, 512)
    # The 3x3 kernel replaces a 7x7 one.
    assert trainable_parameters(model) == TRAINABLE_PARAMETERS[18] - (49 - 9) * 3 * 64
    features = model(images(2, 32, 32, 3))
    assert features.shape == (2, 512)
    assert np.all(np.isfinite(features))


def test_bottleneck_strides_in_its_3x3_convolution():
    model = ResNet(50, input_shape=(64, 64, 3))
    assert model.get_layer("stage2_block1_conv1").strides == (1, 1)
    assert model.get_layer("stage2_block1_conv2").strides == (2, 2)
    assert model.get_layer("stage2_block1_shortcut_conv").strides == (2, 2)


def test_shortcut_has_weights_only_where_the_shape_changes():
    def projected(depth):
        names = [layer.name for layer in ResNet(depth, input_shape=(64, 64, 3)).layers]
        return [name.split("_shortcut")[0] for name in names if name.endswith("shortcut_conv")]

    assert projected(18) == ["stage2_block1", "stage3_block1", "stage4_block1"]
    assert projected(50) == ["stage1_block1", "stage2_block1", "stage3_block1", "stage4_block1"]


@pytest.mark.parametrize(("depth", "last"), [(18, "bn2"), (50, "bn3")])
def test_a_new_block_is_its_shortcut(depth, last):
    model = ResNet(depth, stem="cifar", input_shape=(8, 8, 3))
    zero_gammas = {
        weight.path for weight in model.weights if weight.name == "gamma" and not np.any(weight)
    }
    blocks = {18: 8, 50: 16}[depth]
    assert len(zero_gammas) == blocks
    assert all(path.endswith(f"_{last}/gamma") for path in zero_gammas)
    before, after = keras.Model(
        model.input,
        [model.get_layer(f"stage1_block{block}_relu").output for block in (1, 2)],
    )(images(2, 8, 8, 3))
    np.testing.assert_array_equal(before, after)


def strided(images, kernel, padding):
    """A convolution of stride 2 as loops over positions."""
    height, width = images.shape[1:3]
    size = kernel.shape[0]
    images = np.pad(images, [(0, 0), padding, padding, (0, 0)])
    rows, columns = ((side + sum(padding) - size) // 2 + 1 for side in (height, width))
    found = np.zeros((len(images), rows, columns, kernel.shape[-1]), "float32")
    for row in range(rows):
        for column in range(columns):
            patch = images[:, 2 * row : 2 * row + size, 2 * column : 2 * column + size]
            found[:, row, column] = np.tensordot(patch, kernel, 3)
    return found


@pytest.mark.parametrize("side", [16, 17])
@pytest.mark.parametrize("padding", ["same", "symmetric", "fixed"])
def test_padding_of_strides(padding, side):
    """TensorFlow's 2 and 3 rows for an even size and a 7x7 kernel, or PyTorch's 3 and 3."""
    model = ResNet(18, padding=padding, input_shape=(side, side, 3))
    batch = images(2, side, side, 3)
    rows = (2, 3) if padding == "same" and side == 16 else (3, 3)
    convolved = strided(batch, np.asarray(model.get_layer("stem_conv").kernel), rows)
    outputs = [model.get_layer(f"stem_{layer}").output for layer in ("conv", "relu", "pool")]
    conv, relu, pool = keras.Model(model.input, outputs)(batch)
    assert_close(conv, convolved)
    rows = (0, 1) if padding != "symmetric" and relu.shape[1] % 2 == 0 else (1, 1)
    relu = np.pad(relu, [(0, 0), rows, rows, (0, 0)], constant_values=-np.inf)
    maxima = np.lib.stride_tricks.sliding_window_view(relu, (3, 3), (1, 2))[:, ::2, ::2]
    np.testing.assert_array_equal(pool, maxima.max((-2, -1)))


@pytest.mark.parametrize(
    "options",
    [
        {"input_shape": (65, 33, 3)},
        pytest.param({"stem": "cifar"}, marks=AGAIN),
        pytest.param({}, marks=AGAIN),
    ],
)
def test_symmetric_padding_changes_borders_alone(options):
    """The same weights in the same order, and the same size at every layer."""
    options = {"input_shape": (64, 64, 3)} | options
    ours, theirs = (ResNet(50, padding=padding, **options) for padding in ("same", "symmetric"))
    assert [weight.path for weight in ours.weights] == [weight.path for weight in theirs.weights]
    pads = [layer.name for layer in theirs.layers if layer.name.endswith(("pad", "pad2"))]
    stem = [] if "stem" in options else ["stem_pad", "stem_pool_pad"]
    assert pads == [*stem, *(f"stage{stage}_block1_pad2" for stage in (2, 3, 4))]
    assert not any("pad" in layer.name for layer in ours.layers)
    for layer in ours.layers:
        assert output_shape(ours, layer.name) == output_shape(theirs, layer.name)


def test_stride_in_the_first_1x1_convolution():
    model = ResNet(50, stride_in="1x1", input_shape=(64, 64, 3))
    for stage, stride in ((1, 1), (2, 2), (3, 2), (4, 2)):
        strides = [model.get_layer(f"stage{stage}_block1_conv{k}").strides[0] for k in (1, 2, 3)]
        assert strides == [stride, 1, 1]
    assert model.output_shape == (None, 2048)


@pytest.mark.parametrize(("depth", "more"), [(18, [1]), pytest.param(50, [], marks=AGAIN)])
def test_shortcuts_of_stages(depth, more):
    """SimCLR's basic blocks have one more, in the stage where nothing changes."""
    by_shape, by_stage = (
        [
            layer.name
            for layer in ResNet(depth, shortcuts=shortcuts, input_shape=(32, 32, 3)).layers
            if layer.name.endswith("shortcut_conv")
        ]
        for shortcuts in ("by_shape", "by_stage")
    )
    assert by_stage == [f"stage{stage}_block1_shortcut_conv" for stage in (1, 2, 3, 4)]
    assert by_shape == [name for name in by_stage if int(name[5]) not in more]


def test_stages():
    assert resnet.stages()[34] == (False, (3, 4, 6, 3))
    assert resnet.stages()[50] == (True, (3, 4, 6, 3))


@pytest.mark.slow(reason="a network, or data, of full size")
def test_width_multiplier_multiplies_every_layer():
    depth, features = exhaustive((18, 1024), (50, 4096))
    model = ResNet(depth, width_multiplier=2, input_shape=(32, 32, 3))
    assert model.output_shape == (None, features)
    assert model.get_layer("stem_conv").filters == 128
    assert model.get_layer("stage1_block1_conv1").filters == 128
    assert model.get_layer("stage4_block1_conv1").filters == 1024


def test_any_image_size_when_height_and_width_are_open():
    model = small_resnet(widths=(4, 8), input_shape=(None, None, 3))
    assert model(images(2, 16, 16, 3)).shape == (2, 8)
    assert model(images(2, 21, 12, 3)).shape == (2, 8)


def test_small_resnet_strides_from_the_second_stage_on():
    model = small_resnet(widths=(4, 8, 16), blocks_per_stage=2, stem_stride=2)
    assert output_shape(model, "stem_conv") == (None, 16, 16, 4)
    assert output_shape(model, "stage1_block2_relu") == (None, 16, 16, 4)
    assert output_shape(model, "stage2_block2_relu") == (None, 8, 8, 8)
    assert output_shape(model, "stage3_block2_relu") == (None, 4, 4, 16)
    assert model.output_shape == (None, 16)


def test_kernels_have_variance_one_over_fan_in():
    kernel = ResNet(18, input_shape=(32, 32, 3)).get_layer("stage4_block2_conv2").kernel
    assert float(np.var(kernel)) == pytest.approx(1 / (9 * 512), rel=0.02)


def test_no_bias_and_batch_normalization_as_in_simclr():
    model = small_resnet(widths=(4, 8))
    assert {weight.name for weight in model.trainable_variables} == {"kernel", "gamma", "beta"}
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.momentum, layer.epsilon, layer.synchronized) == (0.9, 1e-5, True)


@needs_bfloat16
@pytest.mark.usefixtures("bfloat16_policy")
def test_features_are_float32_under_mixed_precision():
    model = small_resnet(widths=(4, 8))
    assert model.get_layer("stage2_block1_relu").output.dtype == "bfloat16"
    assert model(images(2, 32, 32, 3)).dtype == "float32"


def test_rebuilt_from_its_config():
    model = small_resnet(widths=(4, 8), name="encoder")
    again = keras.Model.from_config(model.get_config())
    assert again.name == "encoder"
    assert [weight.path for weight in again.weights] == [weight.path for weight in model.weights]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ResNet(20), r"depth is 20; choose one of 18, 34, 50, 101, 152\."),
        (lambda: ResNet(18, stem="mnist"), r"stem is 'mnist'; choose one of imagenet, cifar\."),
        (lambda: ResNet(18, width_multiplier=0), r"width_multiplier is 0; give an int"),
        (
            lambda: ResNet(18, normalization="layer"),
            r"normalization is 'layer'; choose one of batch, group\.",
        ),
        (lambda: small_resnet(normalization=None), r"normalization is None; choose one of batch,"),
        (lambda: ResNet(18, padding="valid"), r"padding is 'valid'; choose one of same, symm"),
        (lambda: ResNet(50, stride_in=1), r"stride_in is 1; choose one of 3x3, 1x1\."),
        (lambda: ResNet(50, shortcuts="all"), r"shortcuts is 'all'; choose one of by_shape, by_s"),
        (
            lambda: ResNet(34, stride_in="1x1"),
            r"stride_in is '1x1'; the blocks of depth 34 take only 3x3",
        ),
        (
            lambda: ResNet(18, input_normalization=((0.5,) * 3, (0, 1, 1))),
            r"normalization is \(\(0\.5, .*; give \(mean, deviation\), 3 floats each, dev",
        ),
        (lambda: ResNet(18, input_normalization=((0.5,), (1,))), "3 floats each"),
        (lambda: ResNet(18, input_normalization=0.5), "normalization is 0.5; give"),
        (lambda: ResNet(18, input_shape=(32, 32)), r"input_shape is \(32, 32\); give \(height"),
        (lambda: small_resnet(widths=()), r"widths is empty"),
        (lambda: small_resnet(widths=(8, 0)), r"each of widths is 0"),
        (lambda: small_resnet(blocks_per_stage=0), r"blocks_per_stage is 0"),
        (lambda: small_resnet(stem_stride=1.5), r"stem_stride is 1\.5"),
    ],
)
def test_errors_say_what_to_do(build, message):
    with pytest.raises(ValueError, match=message):
        build()
