import itertools
import json
import math
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.bfloat16 import needs_bfloat16
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf import ViT
from sogclr_tf.networks.positions import sine_cosine_positions
from sogclr_tf.training.optimizers import build_optimizer

# timm's vit_*_patch16_224 with num_classes=0. As there, positions count: PyTorch counts MoCo v3's
# fixed ones too, which are parameters without gradients.
PARAMETERS = {"tiny": 5_524_416, "small": 21_665_664, "base": 85_798_656}
AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
SMALL = {"patch_size": 4, "depth": 2, "input_shape": (8, 12, 3)}


def images(*shape):
    return np.random.default_rng(0).uniform(size=shape).astype("float32")


def with_every_weight_set(model):
    """The model with numbers in the weights that start as zeros and ones too."""
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign_add(generator.normal(0, 0.1, weight.shape))
    return model


class Reference:
    """The network in loops over tokens and heads, in float64."""

    def __init__(self, model, patch_size, heads):
        self.weights = {weight.path: np.float64(weight) for weight in model.weights}
        self.patch_size, self.heads = patch_size, heads

    def __call__(self, image, depth, pooling):
        x = self.tokens(image)
        for block in range(1, depth + 1):
            x = x + self.attention(self.normalize(x, f"block{block}_norm1"), f"block{block}")
            y = self.dense(self.normalize(x, f"block{block}_norm2"), f"block{block}_widen")
            y = 0.5 * y * (1 + np.vectorize(math.erf)(y / math.sqrt(2)))
            x = x + self.dense(y, f"block{block}_narrow")
        return self.normalize(x[0] if pooling == "token" else np.mean(x, axis=0), "features")

    def tokens(self, image):
        side = self.patch_size
        kernel = self.weights["patches/kernel"].reshape(-1, self.weights["patches/bias"].size)
        corners = itertools.product(range(0, image.shape[0], side), range(0, image.shape[1], side))
        patches = [image[y : y + side, x : x + side].reshape(-1) @ kernel for y, x in corners]
        tokens = [patch + self.weights["patches/bias"] for patch in patches]
        if "class_token/embeddings" in self.weights:
            tokens.insert(0, self.weights["class_token/embeddings"][0])
        return np.stack(tokens) + self.weights["positions/embeddings"]

    def attention(self, x, block):
        def project(name):
            at = f"{block}_attention/{name}"
            kernel, bias = self.weights[f"{at}/kernel"], self.weights[f"{at}/bias"]
            return x @ kernel.reshape(x.shape[1], -1) + bias.reshape(-1)

        query, key, value = (project(name) for name in ("query", "key", "value"))
        size = x.shape[1] // self.heads
        attended = np.zeros_like(x)
        for head in range(self.heads):
            own = slice(head * size, (head + 1) * size)
            for token in range(len(x)):
                share = np.exp(key[:, own] @ query[token, own] / math.sqrt(size))
                attended[token, own] = share / np.sum(share) @ value[:, own]
        at = f"{block}_attention/attention_output"
        kernel = self.weights[f"{at}/kernel"].reshape(x.shape[1], -1)
        return attended @ kernel + self.weights[f"{at}/bias"]

    def dense(self, x, layer):
        return x @ self.weights[f"{layer}/kernel"] + self.weights[f"{layer}/bias"]

    def normalize(self, x, layer):
        centered = x - np.mean(x, axis=-1, keepdims=True)
        variance = np.mean(centered**2, axis=-1, keepdims=True)
        unit = centered / np.sqrt(variance + 1e-6)
        return unit * self.weights[f"{layer}/gamma"] + self.weights[f"{layer}/beta"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [pytest.param(*item, marks=AGAIN if item[0] == "base" else []) for item in PARAMETERS.items()],
)
def test_parameters_are_the_published_ones(size, expected):
    model = ViT(size)
    assert model.count_params() == expected
    assert model.output_shape == (None, model.get_layer("positions").output.shape[-1])


@pytest.mark.parametrize(
    ("pooling", "positions", "heads"),
    [("token", "sincos", 3), ("mean", "sincos", 6), ("token", "learned", 6)],
)
def test_features_are_those_of_the_loops(pooling, positions, heads):
    model = ViT("tiny", pooling=pooling, positions=positions, heads=heads, **SMALL)
    with_every_weight_set(model)
    batch = images(2, 8, 12, 3)
    reference = Reference(model, 4, heads)
    want = [reference(image, 2, pooling) for image in np.float64(batch)]
    assert_close(model(batch), want, terms=1000)


def test_a_square_grid_has_the_positions_of_moco_v3():
    """In its order of loops and of numbers."""
    side, width = 3, 16
    want = []
    for slow, fast in itertools.product(range(side), range(side)):
        omega = [1 / 10_000 ** (k / (width // 4)) for k in range(width // 4)]
        want.append(
            [math.sin(slow * o) for o in omega]
            + [math.cos(slow * o) for o in omega]
            + [math.sin(fast * o) for o in omega]
            + [math.cos(fast * o) for o in omega]
        )
    assert_close(sine_cosine_positions((side, side), width), want)


def test_a_rectangle_has_the_positions_of_a_square_it_is_cut_from():
    square = sine_cosine_positions((5, 5), 16).reshape(5, 5, 16)
    rectangle = sine_cosine_positions((2, 5), 16).reshape(2, 5, 16)
    np.testing.assert_array_equal(rectangle, square[:2])


@pytest.mark.parametrize("shape", [(32, 96, 3), (32, 32, 1), (16, 32, 13)])
def test_images_of_any_size_and_channels(shape):
    model = ViT("tiny", patch_size=16, depth=1, input_shape=shape)
    assert model(images(2, *shape)).shape == (2, 192)


def test_positions_are_no_weights_to_train_unless_they_are_learned():
    fixed, learned = (ViT("tiny", positions=kind, **SMALL) for kind in ("sincos", "learned"))
    for model, trained in ((fixed, False), (learned, True)):
        paths = [weight.path for weight in model.trainable_weights]
        assert ("positions/embeddings" in paths) is trained
        assert model.count_params() == fixed.count_params()


def test_kernels_start_as_moco_v3s():
    keras.utils.set_random_seed(0)
    model = ViT("tiny", **SMALL)
    weights = {weight.path: np.asarray(weight) for weight in model.weights}
    fans = {
        "patches/kernel": 4 * 4 * 3 + 192,
        **{
            f"block1_attention/{part}/kernel": 192 + 192
            for part in ("query", "key", "value", "attention_output")
        },
        "block1_widen/kernel": 192 + 768,
        "block1_narrow/kernel": 768 + 192,
    }
    for path, fan in fans.items():
        limit = math.sqrt(6 / fan)
        assert 0.98 * limit < np.max(np.abs(weights[path])) <= limit, path
        assert np.std(weights[path]) == pytest.approx(limit / math.sqrt(3), rel=0.02), path
    assert np.std(weights["class_token/embeddings"]) == pytest.approx(1e-6, rel=0.2)
    parts = [weights[f"block1_attention/{part}/kernel"] for part in ("query", "key", "value")]
    assert all(np.any(one != other) for one, other in itertools.combinations(parts, 2))
    assert all(not np.any(value) for path, value in weights.items() if path.endswith("bias"))


@pytest.mark.slow(reason="a network is built twice")
def test_one_seed_gives_one_network():
    keras.utils.set_random_seed(3)
    first = ViT("tiny", **SMALL)
    keras.utils.set_random_seed(3)
    for one, other in zip(first.weights, ViT("tiny", **SMALL).weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("lars", marks=AGAIN)])
def test_frozen_patches_keep_their_start(optimizer):
    encoder = ViT("tiny", freeze_patches=True, **{**SMALL, "depth": 1})
    before = {weight.path: np.array(weight) for weight in encoder.weights}
    model = sogclr_tf.SogCLR(encoder, sogclr_tf.GlobalContrastiveLoss(8))
    model.compile(build_optimizer(optimizer, 0.1, weight_decay=0.1))
    views = {"view_a": images(8, 8, 12, 3), "view_b": images(8, 8, 12, 3)[::-1]}
    model.fit({**views, "index": np.arange(8)}, batch_size=8, epochs=2, verbose=0)
    kept = {
        weight.path for weight in encoder.weights if np.array_equal(weight, before[weight.path])
    }
    # Whatever is added to every key alike cancels in the softmax.
    assert kept - {"block1_attention/key/bias"} == {
        "patches/kernel",
        "patches/bias",
        "positions/embeddings",
    }


def test_kernels_and_tokens_decay_and_nothing_else():
    optimizer = build_optimizer("adamw", 1e-3, weight_decay=0.1)
    model = ViT("tiny", positions="learned", **SMALL)
    optimizer.build(model.trainable_variables)
    for weight in model.trainable_variables:
        is_large = weight.path.endswith(("kernel", "embeddings"))
        assert optimizer._use_weight_decay(weight) is is_large, weight.path


@needs_bfloat16
@pytest.mark.usefixtures("bfloat16_policy")
def test_mixed_precision_gives_float32_features():
    model = ViT("tiny", **SMALL)
    features = model(images(2, 8, 12, 3))
    assert features.dtype == "float32"
    assert model.get_layer("block1_attention").compute_dtype == "bfloat16"
    keras.mixed_precision.set_dtype_policy("float32")
    exact = ViT("tiny", **SMALL)
    exact.set_weights(model.get_weights())
    assert_close(features, exact(images(2, 8, 12, 3)), dtype="bfloat16")


@pytest.mark.parametrize("pooling", ["token", "mean"])
def test_keras_reads_a_file_without_this_package(pooling, tmp_path):
    normalization = ((0.5,) * 3, (0.25,) * 3)
    model = ViT("tiny", pooling=pooling, input_normalization=normalization, **SMALL)
    sogclr_tf.export_keras(model, tmp_path / "encoder.keras")
    with zipfile.ZipFile(tmp_path / "encoder.keras") as archive:
        config = json.loads(archive.read("config.json"))
    assert "sogclr_tf" not in json.dumps(config)
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(loaded(images(2, 8, 12, 3)), model(images(2, 8, 12, 3)))
    assert [weight.path for weight in loaded.trainable_weights] == [
        weight.path for weight in model.trainable_weights
    ]


@pytest.mark.slow(reason="an export is traced and converted")
def test_tflite_has_all_operations(tmp_path):
    model = ViT("tiny", **SMALL)
    path = sogclr_tf.export_tflite(model, tmp_path / "encoder.tflite", quantize=False)
    run = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
    batch = images(2, 8, 12, 3)
    assert_close(run(images=batch)["features"], model(batch), terms=1000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "huge"}, "size is 'huge'; choose one of tiny, small, base"),
        ({"pooling": "max"}, "pooling is 'max'; choose one of token, mean"),
        ({"positions": "none"}, "positions is 'none'; choose one of sincos, learned"),
        ({"patch_size": 0}, "patch_size is 0; give an int of at least 1"),
        ({"depth": True}, "depth is True; give an int of at least 1"),
        ({"heads": 5}, "heads is 5; give a number that divides the width, 192"),
        (
            {"input_shape": (224, 230, 3)},
            "patch_size 16 does not divide images of 224 x 230: take images of 224 x 224 or "
            "224 x 240, or another patch_size",
        ),
        (
            {"input_shape": (8, 8, 3)},
            "patch_size 16 does not divide images of 8 x 8: take images of 16 x 16, or another",
        ),
        (
            {"input_shape": (None, None, 3)},
            r"input_shape is \(None, None, 3\); give \(height, width, channels\), all of them",
        ),
        ({"input_shape": (32, 32)}, r"input_shape is \(32, 32\); give \(height, width, channels\)"),
        ({"input_normalization": (0.5, 0.5)}, r"input_normalization is \(0.5, 0.5\); give \(mean"),
    ],
)
def test_bad_input_is_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        ViT(**{"size": "tiny", "depth": 1, **options})
    assert "\n" not in str(caught.value)
