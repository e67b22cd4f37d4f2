import keras
import numpy as np
import pytest
from support.bfloat16 import needs_bfloat16
from support.numerics import assert_close

from sogclr_tf import projection_head


def features(batch, width):
    return np.random.default_rng(0).normal(size=(batch, width)).astype("float32")


def trainable_shapes(head):
    return [(weight.path, tuple(weight.shape)) for weight in head.trainable_variables]


def test_two_layers_and_no_beta_at_the_end():
    assert trainable_shapes(projection_head(6, output=4)) == [
        ("projector/hidden1_dense/kernel", (6, 6)),
        ("projector/hidden1_bn/gamma", (6,)),
        ("projector/hidden1_bn/beta", (6,)),
        ("projector/output_dense/kernel", (6, 4)),
        ("projector/output_bn/gamma", (4,)),
    ]


@pytest.mark.parametrize(
    ("layers", "kernels"), [(1, [(6, 4)]), (2, [(6, 5), (5, 4)]), (3, [(6, 5), (5, 5), (5, 4)])]
)
def test_number_of_layers(layers, kernels):
    head = projection_head(6, hidden=5, output=4, layers=layers)
    shapes = [shape for path, shape in trainable_shapes(head) if path.endswith("kernel")]
    assert shapes == kernels
    assert head(features(3, 6)).shape == (3, 4)


def test_equals_the_formula_in_training_mode():
    def normalize(x):
        return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)

    head = projection_head(6, hidden=5, output=4)
    x = features(32, 6)
    first, second = (
        head.get_layer(name).kernel.numpy() for name in ("hidden1_dense", "output_dense")
    )
    expected = normalize(np.maximum(normalize(x @ first), 0) @ second)
    assert_close(head(x, training=True), expected, terms=10000)


def test_layer_normalization_in_the_same_places():
    """The formula over the channels of each example, in training too; no beta at the end."""

    def normalize(x):
        mean, variance = (f(x, axis=1, keepdims=True) for f in (np.mean, np.var))
        return (x - mean) / np.sqrt(variance + 1e-5)

    head = projection_head(6, hidden=5, output=4, normalization="layer")
    batch = projection_head(6, hidden=5, output=4)
    assert trainable_shapes(head) == [
        (path.replace("_bn/", "_ln/"), shape) for path, shape in trainable_shapes(batch)
    ]
    assert len(head.weights) == len(head.trainable_variables)
    x = 100 * features(3, 6)
    first, second = (
        head.get_layer(name).kernel.numpy() for name in ("hidden1_dense", "output_dense")
    )
    expected = normalize(np.maximum(normalize(x @ first), 0) @ second)
    for training in (False, True):
        assert_close(head(x, training=training), expected, terms=10000)


def test_kernels_start_with_deviation_one_hundredth():
    kernel = projection_head(256).get_layer("hidden1_dense").kernel
    assert float(np.std(kernel)) == pytest.approx(0.01, rel=0.03)


def test_batch_normalization_is_synchronized():
    head = projection_head(6, layers=3)
    for layer in head.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert (layer.momentum, layer.epsilon, layer.synchronized) == (0.9, 1e-5, True)


@needs_bfloat16
@pytest.mark.usefixtures("bfloat16_policy")
@pytest.mark.parametrize("training", [False, True])
def test_projections_are_float32_under_mixed_precision(training):
    head = projection_head(6, output=4)
    assert head.get_layer("hidden1_dense").compute_dtype == "bfloat16"
    assert head(features(3, 6), training=training).dtype == "float32"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: projection_head(0), r"features is 0; give a width"),
        (lambda: projection_head(8, hidden=-1), r"hidden is -1; give a width"),
        (lambda: projection_head(8, output=2.5), r"output is 2\.5; give a width"),
        (lambda: projection_head(8, layers=0), r"layers is 0; choose 1 \(linear\), 2 or 3\."),
        (
            lambda: projection_head(8, normalization="group"),
            r"normalization is 'group'; choose one of batch, layer\.",
        ),
        (lambda: projection_head(8, layers=4), r"layers is 4; choose"),
    ],
)
def test_errors_say_what_to_do(build, message):
    with pytest.raises(ValueError, match=message):
        build()
