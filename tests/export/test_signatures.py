"""What an export answers, and what it says to a request that it cannot answer."""

import pathlib

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf
from support.numerics import assert_close
from support.requests import BAD_FILES, BAD_IMAGES, RANDOM, SIDE, batch, evaluation_images, files

import sogclr_tf
from sogclr_tf import export_encoder, export_keras, export_tflite
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.sources.open import from_name

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
CLASSES = ["zero", "größer", "two words"]


@pytest.fixture(scope="module")
def model():
    """A SogCLR model whose probe has learned and whose batch statistics have moved."""
    keras.utils.set_random_seed(0)
    encoder = sogclr_tf.small_resnet(widths=(8, 16), input_shape=(SIDE, SIDE, 3))
    probe = sogclr_tf.OnlineProbe(len(CLASSES))
    made = sogclr_tf.SogCLR(encoder, sogclr_tf.GlobalContrastiveLoss(num_examples=64), probe=probe)
    made.compile(keras.optimizers.SGD(0.1))
    pixels = RANDOM.integers(0, 256, (64, SIDE, SIDE, 3), np.uint8)
    source = sogclr_tf.ArraySource(pixels, np.arange(64) % 3)
    made.fit(sogclr_tf.training_views(source, batch_size=32), epochs=2, verbose=0)
    return made


@pytest.fixture(scope="module")
def export(model, tmp_path_factory):
    return export_encoder(model, tmp_path_factory.mktemp("served"), class_names=CLASSES)


@pytest.fixture(scope="module")
def loaded(export):
    return tf.saved_model.load(str(export))


def test_the_signatures(loaded):
    shapes = {}
    for name, signature in loaded.signatures.items():
        ((given, spec),) = signature.structured_input_signature[1].items()
        ((found, answer),) = signature.structured_outputs.items()
        assert answer.dtype == tf.float32
        shapes[name] = (given, spec.dtype, spec.shape[1:], found, tuple(answer.shape))
    images = ("images", tf.float32, (SIDE, SIDE, 3))
    of_files = ("image_bytes", tf.string, ())
    assert shapes == {
        "serving_default": (*images, "features", (None, 16)),
        "serving_bytes": (*of_files, "features", (None, 16)),
        "projections": (*images, "projections", (None, 128)),
        "classify": (*images, "probabilities", (None, 3)),
        "classify_bytes": (*of_files, "probabilities", (None, 3)),
    }


def test_answers_are_the_models(model, loaded):
    images = batch()
    features = model.encoder(images, training=False)
    expected = {
        "serving_default": features,
        "projections": model.project(images),
        "classify": tf.nn.softmax(model.probe(features)),
    }
    for name, values in expected.items():
        (found,) = loaded.signatures[name](images=tf.constant(images)).values()
        assert_close(found, values, terms=10000)
    assert_close(loaded(images), features)


def test_files_are_seen_as_in_an_evaluation(model, loaded, tmp_path):
    features = loaded.signatures["serving_bytes"](image_bytes=tf.constant(files()))["features"]
    images = evaluation_images(files(), tmp_path)
    assert_close(features, model.encoder(images, training=False))


@pytest.mark.slow(reason="a network, or data, of full size")
def test_files_of_cifar10(data_dir, tmp_path):
    encoder = sogclr_tf.small_resnet(widths=(8, 16), input_shape=(24, 24, 3))
    source = from_name("cifar10", "test[:7]", data_dir)
    pixels = [source.decode(source.read(e["image"])) for e in source.examples()]
    served = tf.saved_model.load(str(export_encoder(encoder, tmp_path))).signatures["serving_bytes"]
    features = served(image_bytes=tf.stack([tf.io.encode_png(x) for x in pixels]))["features"]
    images, _ = evaluation_set(source, 24)
    expected = encoder(np.stack(list(images.as_numpy_iterator())), training=False)
    assert_close(features, expected)


def test_class_names_are_an_asset(export, loaded):
    path = pathlib.Path(loaded.class_names.asset_path.numpy().decode())
    assert path == export / "assets" / "class_names.txt"
    assert path.read_text(encoding="utf-8").splitlines() == CLASSES


@pytest.mark.slow(reason="an export of its own")
def test_a_head_of_ones_own(model, tmp_path):
    head = keras.layers.Dense(2)
    head.build((None, 16))
    served = tf.saved_model.load(str(export_encoder(model, tmp_path, head=head)))
    assert not hasattr(served, "class_names")
    images = batch()
    expected = tf.nn.softmax(head(model.encoder(images, training=False)))
    found = served.signatures["classify"](images=tf.constant(images))["probabilities"]
    assert_close(found, expected)


def test_an_encoder_alone(model, tmp_path):
    served = tf.saved_model.load(str(export_encoder(model.encoder, tmp_path)))
    assert set(served.signatures) == {"serving_default", "serving_bytes"}


@pytest.mark.parametrize(
    ("shape", "options", "has_files"),
    [
        ((None, None, 3), {}, False),
        pytest.param((None, None, 3), {"image_size": SIDE}, True, marks=AGAIN),
        pytest.param((None, 12, 3), {"image_size": (8, 12)}, True, marks=AGAIN),
        ((8, 12, 3), {}, True),
        pytest.param((8, 8, 1), {}, True, marks=AGAIN),
        ((8, 8, 2), {}, False),
    ],
)
def test_files_need_a_size_to_become(tmp_path, shape, options, has_files):
    encoder = sogclr_tf.small_resnet(widths=(4,), input_shape=shape)
    path = export_encoder(encoder, tmp_path / "served", **options)
    served = tf.saved_model.load(str(path))
    assert ("serving_bytes" in served.signatures) == has_files
    if has_files:
        size = options.get("image_size", shape[:2])
        features = served.signatures["serving_bytes"](image_bytes=tf.constant(files()))
        images = evaluation_images(files(), tmp_path, size, shape[-1])
        assert_close(features["features"], encoder(images, training=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "int8"}, "weights is 'int8': choose one of float32, bfloat16, float16"),
        ({"image_size": 20}, r"image_size is 20, but the encoder takes \(16, 16, 3\)"),
        ({"image_size": (16, 20)}, r"image_size is \(16, 20\), but the encoder takes \(16, 16, 3"),
        ({"image_size": (0, 5)}, r"image_size is \(0, 5\): expected a whole number of pixels >= 1"),
        ({"class_names": ["a", "b"]}, "2 class_names for a head of 3 classes: give one for each"),
        ({"class_names": ["a", "b\nc", "d"]}, r"a name of class_names is 'b\\nc', which is"),
        ({"head": keras.layers.Dense(2)}, "expected a built Keras layer from features to scores"),
        ({"warmup_batches": (0,)}, r"warmup_batches is \(0,\): each must be at least 1"),
    ],
)
def test_what_cannot_be_exported(model, tmp_path, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        export_encoder(model, tmp_path, **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_class_names_need_a_head(model, tmp_path):
    with pytest.raises(ValueError, match="there is none: pass head="):
        export_encoder(model.encoder, tmp_path, class_names=CLASSES)


class TestWeights:
    @AGAIN
    @pytest.mark.parametrize("weights", ["float16", "bfloat16"])
    def test_kernels_in_16_bits(self, model, export, tmp_path, weights):
        folder = export_encoder(model, tmp_path, weights=weights)
        served = tf.saved_model.load(str(folder))
        kinds = {(v.dtype, v.shape.rank > 1) for v in served.variables}
        assert kinds == {(tf.dtypes.as_dtype(weights), True), (tf.float32, False)}
        images = batch()
        features = model.encoder(images, training=False)
        assert_close(served(images), features, terms=1, dtype=weights)
        assert not np.array_equal(served(images), features)
        assert stored_bytes(folder) < 0.65 * stored_bytes(export)

    def test_a_keras_file(self, model, tmp_path):
        path = export_keras(model, tmp_path / "deep" / "encoder.keras")
        assert [entry.name for entry in path.parent.iterdir()] == ["encoder.keras"]
        again, images = keras.models.load_model(path), batch()
        assert_close(again(images), model.encoder(images), terms=4)
        with pytest.raises(ValueError, match="expected a name that ends in .keras"):
            export_keras(model, tmp_path / "encoder.h5")

    @pytest.mark.parametrize("quantize", [True, pytest.param(False, marks=AGAIN)])
    def test_tflite(self, model, tmp_path, quantize):
        path = export_tflite(model, tmp_path / "encoder.tflite", quantize=quantize)
        run = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
        for size in (1, 7):
            images = batch(size)
            features = model.encoder(images, training=False).numpy()
            found = run(images=images)["features"]
            if quantize:
                # Kernels of 8 bits: a step of 1/127 of each channel's largest number.
                assert_close(found, features, terms=40, dtype="bfloat16")
            else:
                assert_close(found, features, terms=1000)


def stored_bytes(folder):
    return sum(file.stat().st_size for file in (folder / "variables").glob("*.data*"))


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("signature", ["serving_bytes", "classify_bytes"])
def test_bad_files(loaded, signature, name):
    make, message = BAD_FILES[name]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loaded.signatures[signature](image_bytes=tf.constant(make(), tf.string))


@pytest.mark.parametrize("name", BAD_IMAGES)
@pytest.mark.parametrize("signature", ["serving_default", "projections", "classify"])
def test_bad_images(loaded, signature, name):
    make, message = BAD_IMAGES[name]
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match=message):
        loaded.signatures[signature](images=tf.constant(make(), tf.float32))


@pytest.mark.slow(reason="an export of its own")
def test_max_pixels(model, tmp_path):
    served = tf.saved_model.load(str(export_encoder(model, tmp_path, max_pixels=427 * 640 - 1)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="image too large"):
        served.signatures["serving_bytes"](image_bytes=tf.constant(files()[:1]))


@pytest.mark.slow(reason="a thousand requests")
def test_a_thousand_requests_good_and_bad(loaded):
    """The model keeps serving, gives the same answers, and holds on to no memory."""
    good = {"image_bytes": tf.constant(files())}, {"images": tf.constant(batch())}
    bad = [("serving_bytes", "image_bytes", make) for make, _ in BAD_FILES.values()]
    bad += [("serving_default", "images", make) for make, _ in BAD_IMAGES.values()]
    bad = [
        (name, {key: tf.constant(make(), tf.string if key == "image_bytes" else tf.float32)})
        for name, key, make in bad
    ]
    asked = [("serving_bytes", good[0]), ("serving_default", good[1])]
    expected = [loaded.signatures[name](**request)["features"] for name, request in asked]
    process, resident, failed = psutil.Process(), [], 0
    for number in range(1000):
        kind, place = divmod(number, 2)[::-1], number // 2
        if kind[0]:
            name, request = bad[place % len(bad)]
            with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
                loaded.signatures[name](**request)
            failed += 1
        else:
            name, request = asked[place % 2]
            features = loaded.signatures[name](**request)["features"]
            np.testing.assert_array_equal(features, expected[place % 2])
        # The first hundred fill caches and pools.
        if number in (100, 999):
            resident.append(process.memory_info().rss)
    assert failed == 500
    assert resident[1] < 1.05 * resident[0]
