"""Both towers of an image-text model, exported: what they answer, and which files they are."""

import importlib.util

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf.export import warmup

N, SIDE, SEVERAL = 24, 8, 3
TEMPERATURE = 0.2
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (SEVERAL, SIDE, SIDE, 3), np.uint8)
TEXTS = ["a b c", "H, g!", "unheard of", ""]
NAMES = ["a", "b c", "unheard of"]


def image_encoder():
    return keras.Sequential(
        [keras.Input((SIDE, SIDE, 3)), keras.layers.Conv2D(6, 3), keras.layers.Flatten()]
    )


def model(text_encoder=None, scheme="constant"):
    """Two towers that are not trained, with a table and temperatures."""
    keras.utils.set_random_seed(0)
    words = ["", "[UNK]", *"abcdefgh"]
    text_encoder = text_encoder or sogclr_tf.TextEncoder(words, length=4, width=8, heads=2)
    loss = sogclr_tf.TwoWayGlobalContrastiveLoss(N, TEMPERATURE, temperature_scheme=scheme)
    return sogclr_tf.TwoTowerSogCLR(image_encoder(), text_encoder, loss)


def signatures(folder):
    loaded = tf.saved_model.load(str(folder))
    # A signature's variables live as long as what was loaded.
    return loaded, loaded.signatures


def floats(images):
    return tf.constant(images / np.float32(255))


class TestServed:
    @pytest.fixture(scope="class")
    def exported(self, tmp_path_factory):
        built = model()
        folder = tmp_path_factory.mktemp("export") / "towers"
        there = importlib.util.find_spec("tensorflow_serving")
        return built, sogclr_tf.export_towers(
            built, folder, class_names=NAMES, warmup_batches=(1, 2) if there else ()
        )

    @pytest.fixture(scope="class")
    def image(self, exported):
        return signatures(exported[1][0])

    @pytest.fixture(scope="class")
    def text(self, exported):
        return signatures(exported[1][1])

    def test_folders(self, exported):
        _, folders = exported
        assert [path.parts[-2:] for path in folders] == [("image", "1"), ("text", "1")]

    def test_embeddings_are_the_models(self, exported, image, text):
        built, _ = exported
        got = image[1]["serving_default"](images=floats(IMAGES))["embeddings"]
        assert_close(got, built.embed_images(IMAGES), terms=SIDE * SIDE)
        got = text[1]["serving_default"](texts=tf.constant(TEXTS))["embeddings"]
        assert_close(got, built.embed_texts(TEXTS), terms=4)
        assert_close(np.linalg.norm(got, axis=1), [1, 1, 1, 0])

    def test_files(self, exported, image):
        built, _ = exported
        files = tf.constant([tf.io.encode_png(pixels).numpy() for pixels in IMAGES])
        got = image[1]["serving_bytes"](image_bytes=files)["embeddings"]
        assert_close(got, built.embed_images(IMAGES), terms=SIDE * SIDE)

    def test_classes_by_their_names(self, exported, image):
        """The softmax of cosines over the temperature, whose largest `zero_shot` picks."""
        built, (folder, _) = exported
        got = image[1]["classify"](images=floats(IMAGES))["probabilities"]
        of_images, of_names = built.embed_images(IMAGES), built.embed_texts(NAMES)
        scores = of_images.numpy() @ of_names.numpy().T / TEMPERATURE
        wanted = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        assert_close(got, wanted, terms=SIDE * SIDE)
        np.testing.assert_array_equal(
            np.argmax(got, axis=1), sogclr_tf.zero_shot(of_images, of_names)
        )
        assert (folder / "assets" / "class_names.txt").read_text().splitlines() == NAMES

    def test_tables_stay_behind(self, exported):
        for path in exported[1]:
            saved = tf.train.load_checkpoint(str(path / "variables" / "variables"))
            shapes = saved.get_variable_to_shape_map()
            assert shapes
            assert [N] not in shapes.values()

    def test_a_version_is_never_overwritten(self, exported):
        built, (image, _) = exported
        with pytest.raises(FileExistsError, match="holds version 1"):
            sogclr_tf.export_towers(built, image.parents[1], version=1)

    @pytest.mark.skipif(
        importlib.util.find_spec("tensorflow_serving") is None,
        reason="tensorflow-serving-api is not installed",
    )
    def test_requests_of_warm_up_are_answered(self, exported, image, text):
        from tensorflow_serving.apis import prediction_log_pb2

        for folder, (_, served) in zip(exported[1], (image, text), strict=True):
            sent = set()
            for record in tf.data.TFRecordDataset(str(folder / warmup.FILE)):
                log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
                request = log.predict_log.request
                ((name, proto),) = request.inputs.items()
                values = tf.constant(tf.make_ndarray(proto))
                answer = served[request.model_spec.signature_name](**{name: values})
                (found,) = answer.values()
                assert np.isfinite(found).all()
                sent.add((request.model_spec.signature_name, len(found)))
            assert sent == {(name, batch) for name in served for batch in (1, 2)}


def test_a_text_encoder_without_a_tokenizer_takes_tokens(tmp_path):
    words = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            keras.layers.Embedding(10, 8),
            keras.layers.GlobalAveragePooling1D(),
        ]
    )
    built = model(words)
    _, path = sogclr_tf.export_towers(built, tmp_path)
    _, served = signatures(path)
    tokens = tf.constant([[1, 2, 3, 0]])
    got = served["serving_default"](tokens=tokens)["embeddings"]
    assert_close(got, built.embed_tokens(tokens), terms=4)


def test_the_table_of_words_is_there_before_the_first_text():
    """An export in a process of its own, which read no text, tracks it."""
    assert model().text_encoder.vectorization.built


def test_the_image_tower_as_files(tmp_path):
    """Read without this package: a `.keras` file of Keras's own layers, and TFLite."""
    built = model()
    wanted = built.embed_images(IMAGES)
    tower = built.image_tower()
    path = sogclr_tf.export_keras(tower, tmp_path / "image_tower.keras")
    again = keras.models.load_model(path, compile=False)
    assert_close(again(floats(IMAGES)), wanted, terms=SIDE * SIDE)
    path = sogclr_tf.export_tflite(tower, tmp_path / "image_tower.tflite", quantize=False)
    runner = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")
    assert_close(runner(images=floats(IMAGES))["features"], wanted, terms=SIDE * SIDE)


def test_temperatures_of_every_example_have_a_mean():
    built = model(scheme="individual")
    first = np.linspace(0.05, 0.5, N, dtype=np.float32)
    built.contrastive_loss.temperatures_a.assign(first)
    wanted = np.exp(np.log(np.concatenate([first, np.full(N, TEMPERATURE)])).mean())
    assert built.contrastive_loss.mean_temperature() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": ["one"]}, "class_names has 1: give at least 2"),
        ({"class_names": ["a", "b\nc"]}, "a name of class_names"),
        ({"weights": "int8"}, "weights is 'int8': choose one of float32"),
        ({"pixel_format": sogclr_tf.PixelFormat(1)}, "pixel_format has 1 channels"),
    ],
)
def test_one_clear_line(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        sogclr_tf.export_towers(model(), tmp_path, **options)
    assert list(tmp_path.iterdir()) == []
