"""Encoders that take or give what a model cannot use: one line, with the way out."""

import keras
import numpy as np
import pytest

import sogclr_tf

layers = keras.layers


@pytest.fixture(scope="module")
def parts():
    """(images, map, pooled): the tensors of a small network."""
    images = keras.Input((8, 8, 3), name="images")
    features = layers.Conv2D(4, 3)(images)
    return images, features, layers.GlobalAveragePooling2D()(features)


def model(encoder, **options):
    return sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss(), **options)


def refused(encoder, **options):
    """The error, which is one line."""
    with pytest.raises(ValueError, match="the encoder") as caught:
        model(encoder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def way_out(message, encoder):
    """The encoder that the message tells to give."""
    code = message[message.index("keras.Model(") :]
    return eval(code, {"keras": keras, "encoder": encoder})


@pytest.mark.parametrize("encoder_range", [None, 255])
def test_a_dictionary_of_outputs(parts, encoder_range):
    images, features, pooled = parts
    encoder = keras.Model(images, {"map": features, "pooled": pooled}, name="two")
    message = refused(encoder, encoder_range=encoder_range)
    assert "'two' gives a dictionary ('map' (None, 6, 6, 4), 'pooled' (None, 4)): exp" in message
    assert model(way_out(message, encoder)).encoder.output is pooled


def test_evaluations_and_exports_say_it_too(parts, tmp_path):
    images, features, pooled = parts
    encoder = keras.Model(images, {"map": features, "pooled": pooled})
    source = sogclr_tf.ArraySource(np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 0, 1])
    evaluated = encoder, source, source, sogclr_tf.crops_and_flips(8)
    for use in (
        lambda: sogclr_tf.extract_features(encoder, np.zeros((1, 8, 8, 3))),
        lambda: sogclr_tf.linear_evaluation(*evaluated),
        lambda: sogclr_tf.fine_tune(*evaluated, percent=100),
        lambda: sogclr_tf.export_encoder(encoder, tmp_path),
        lambda: sogclr_tf.export_tflite(encoder, tmp_path / "encoder.tflite"),
    ):
        with pytest.raises(ValueError, match="gives a dictionary .* choose one, such as keras.Mod"):
            use()


def test_several_outputs(parts):
    images, features, pooled = parts
    encoder = keras.Model(images, [features, pooled])
    message = refused(encoder)
    assert "gives a list of 2 (0 (None, 6, 6, 4), 1 (None, 4)): expected features [B, C]" in message
    assert model(way_out(message, encoder)).encoder.output is pooled


def test_a_dictionary_of_one_input(parts):
    images, _, pooled = parts
    encoder = keras.Model({"images": images}, pooled)
    message = refused(encoder)
    assert "takes a dictionary ('images' (None, 8, 8, 3)): expected images alone" in message
    chosen = model(way_out(message, encoder)).encoder
    given = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(chosen(given), encoder({"images": given}))


def test_several_inputs(parts):
    images, _, pooled = parts
    sizes = keras.Input((4,), name="sizes")
    encoder = keras.Model({"images": images, "sizes": sizes}, layers.Add()([pooled, sizes]))
    message = refused(encoder)
    assert message.endswith(
        "'sizes' (None, 4)): expected images alone, so build it from images alone"
    )


@pytest.mark.parametrize("encoder_range", [None, 255])
def test_lists_of_one_are_what_is_in_them(parts, encoder_range):
    images, _, pooled = parts
    listed = model(keras.Model([images], [pooled]), encoder_range=encoder_range)
    given = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    want = keras.Model(images, pooled)((encoder_range or 1) * given)
    np.testing.assert_array_equal(listed(given), want)
    assert listed.project(given).shape == (2, 128)


@pytest.mark.parametrize(
    ("outputs", "described"),
    [
        (lambda x, mean: {"map": x, "mean": mean}, r"a dictionary \(.*'mean' \(None, 3\)\)"),
        (lambda _, mean: [mean], r"a list of 1 \(0 \(None, 3\)\)"),
    ],
)
def test_outputs_of_a_subclassed_model(outputs, described):
    class Several(keras.Model):
        def call(self, images):
            return outputs(images, keras.ops.mean(images, axis=(1, 2)))

    encoder = Several(name="several")
    with pytest.raises(ValueError, match=f"'several' gives {described}: .* let its call return"):
        model(encoder).build((None, 8, 8, 3))


def test_text_encoders_that_take_a_dictionary(parts):
    images, _, pooled = parts
    names = "token_ids", "padding_mask"
    taken = {name: keras.Input((4,), name=name, dtype="int32") for name in names}
    text_encoder = keras.Model(taken, taken["token_ids"] * taken["padding_mask"])
    with pytest.raises(ValueError, match="expected token ids alone, so build it from token ids"):
        sogclr_tf.TwoTowerSogCLR(keras.Model(images, pooled), text_encoder, sogclr_tf.CLIPLoss())


class TestChannelsFirst:
    @pytest.fixture(autouse=True)
    def setting(self):
        keras.config.set_image_data_format("channels_first")
        yield
        keras.config.set_image_data_format("channels_last")

    def test_is_refused_where_networks_and_models_are_made(self, parts):
        images, _, pooled = parts
        encoder = keras.Model(images, pooled)
        words = "image_data_format is 'channels_first' .*: call keras.config.set_image_data_format"
        for make in (
            lambda: model(encoder),
            lambda: sogclr_tf.TwoTowerSogCLR(encoder, encoder, sogclr_tf.CLIPLoss()),
            lambda: sogclr_tf.ResNet(18),
            lambda: sogclr_tf.small_resnet(),
        ):
            with pytest.raises(ValueError, match=words):
                make()
