"""Two towers: fit, what is saved, what is exported, and the contract with a stream."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.bfloat16 import needs_bfloat16
from support.exhaustive import exhaustive
from support.numerics import assert_all_close, close

import sogclr_tf
from sogclr_tf import Checkpoints
from sogclr_tf.losses.registry import build_loss, loss_names
from sogclr_tf.networks.words import vocabulary

AGAIN = pytest.mark.slow(reason="the same on another value, traced anew")
TRACED = pytest.mark.slow(reason="a step is traced and compiled anew for each case")
N, BATCH, RATE = 24, 8, 0.05
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (N, 8, 8, 3), np.uint8)
TEXTS = [" ".join(words) for words in RANDOM.choice(list("abcdefgh"), (N, 3))]
GLOBAL = {"temperature_scheme": "global", "rho": 1.0}


def pairs(images=IMAGES, texts=TEXTS, batch_size=BATCH):
    policy = sogclr_tf.Policy(size=8, min_area=0.5)
    return sogclr_tf.training_pairs(images, texts, batch_size=batch_size, policy=policy)


def image_encoder():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(6, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
        ]
    )


def text_encoder():
    return sogclr_tf.TextEncoder(vocabulary(TEXTS), length=4, width=8, heads=2)


def model(loss="two_way", towers=None, num_examples=N, options=None, **compile_options):
    keras.utils.set_random_seed(0)
    if options is None:
        options = GLOBAL if loss == "two_way" else {}
    contrastive_loss = build_loss(loss, num_examples, temperature=0.2, **options)
    built = sogclr_tf.TwoTowerSogCLR(
        *(towers or (image_encoder(), text_encoder())), contrastive_loss
    )
    built.compile(optimizer=keras.optimizers.SGD(RATE, momentum=0.9), **compile_options)
    return built


def assert_same_weights(one, other, terms=0):
    """To the bit, or with so many additions behind an entry."""
    assert_all_close(one.get_weights(), other.get_weights(), terms)


class TestFit:
    def test_logs_and_tables(self):
        built = model()
        history = built.fit(pairs(), epochs=2, verbose=0).history
        assert set(history) == {"loss", "contrast_accuracy", "temperature", "feature_std"}
        for table in (built.contrastive_loss.log_u_a, built.contrastive_loss.log_u_b):
            assert np.isfinite(table).all()

    @pytest.mark.parametrize("loss", ["two_way", pytest.param("clip", marks=AGAIN)])
    def test_it_learns_which_text_is_whose(self, loss):
        """Texts name the brightest channel of images that are otherwise noise."""
        names = np.array(["red", "green", "blue"])
        kinds = np.arange(48) % 3
        images = RANDOM.integers(0, 60, (48, 8, 8, 3)).astype(np.uint8)
        images[np.arange(48), :, :, kinds] += 150
        words = sogclr_tf.TextEncoder(["", "[UNK]", *names], length=1, width=8, heads=2)
        built = model(loss, (image_encoder(), words), 48)
        built.compile(keras.optimizers.Adam(3e-3))
        built.fit(pairs(images, names[kinds]), epochs=8, verbose=0)
        similarity = built.embed_images(images) @ tf.transpose(built.embed_texts(names))
        np.testing.assert_array_equal(np.argmax(similarity, axis=1), kinds)

    def test_step_is_the_gradient_of_the_objective(self):
        """One SGD step by `fit`, that of the temperature included, equals one by hand."""
        batch = next(iter(pairs().stream()))
        by_fit, by_hand = model(), model()
        by_fit.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
        tokens = {**batch, "text": by_hand.tokenize(batch["text"])}
        weights = [weight.value for weight in by_hand.trainable_weights]
        with tf.GradientTape() as tape:
            a, b = by_hand.sides(tokens, training=True)
            loss = by_hand.contrastive_loss(a, b, batch["index"])
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(RATE * tf.convert_to_tensor(gradient))
        for part in ("image_encoder", "text_encoder", "image_projector", "contrastive_loss"):
            assert_same_weights(getattr(by_fit, part), getattr(by_hand, part), terms=100)
        assert float(by_fit.contrastive_loss.learned_temperature) != close(0.2, terms=10000)

    @pytest.mark.slow(reason="a step is traced and compiled anew for each case")
    def test_strings_and_token_ids_train_alike(self):
        batch = next(iter(pairs(batch_size=N).stream()))
        arrays = {key: value.numpy() for key, value in batch.items()}
        by_strings, by_tokens = model(), model()
        tokens = {**arrays, "text": by_tokens.tokenize(arrays["text"]).numpy()}
        by_strings.fit(arrays, batch_size=BATCH, verbose=0)
        by_tokens.fit(tokens, batch_size=BATCH, verbose=0)
        assert_same_weights(by_strings, by_tokens)

    @pytest.mark.slow(reason="a step is traced and compiled anew for each case")
    def test_any_text_encoder(self):
        """One of Keras's own layers, without a tokenizer, on token ids."""
        words = keras.Sequential(
            [
                keras.Input((4,), dtype="int32"),
                keras.layers.Embedding(10, 8, mask_zero=True),
                keras.layers.GRU(8),
            ]
        )
        built = model(towers=(image_encoder(), words))
        with pytest.raises(ValueError, match="has no tokenize.*: give token ids"):
            built.fit(pairs())
        tokens = text_encoder().tokenize
        stream = pairs().epoch(0).map(lambda batch: {**batch, "text": tokens(batch["text"])})
        built.fit(stream, verbose=0)
        assert np.isfinite(built.contrastive_loss.log_u_b).all()

    # One with tables, one with a learned temperature; the others differ in what
    # `tests/losses/test_objectives.py` compiles, and in nothing of two towers.
    @pytest.mark.parametrize("loss", exhaustive(["two_way", "clip"], loss_names()))
    @TRACED
    def test_the_whole_step_compiles_under_xla(self, loss):
        with tf.device("CPU:0"):
            plain, compiled = model(loss, jit_compile=False), model(loss, jit_compile=True)
            plain.fit(pairs(), verbose=0)
            compiled.fit(pairs(), verbose=0)
        assert_same_weights(compiled, plain, terms=100)

    @pytest.mark.parametrize(
        "policy",
        [
            pytest.param("mixed_bfloat16", marks=needs_bfloat16),
            pytest.param("mixed_float16", marks=AGAIN),
        ],
    )
    def test_mixed_precision(self, policy):
        keras.mixed_precision.set_dtype_policy(policy)
        try:
            built = model()
            loss = built.fit(pairs(), verbose=0).history["loss"][0]
        finally:
            keras.mixed_precision.set_dtype_policy("float32")
        assert np.isfinite(loss)
        assert built.contrastive_loss.learned_temperature.dtype == tf.float32
        assert built.embed_texts(TEXTS[:2]).dtype == tf.float32

    @TRACED
    def test_evaluate_and_validation_leave_everything_alone(self):
        built = model()
        history = built.fit(pairs(), validation_data=pairs(), epochs=2, verbose=0).history
        assert len(history["val_temperature"]) == 2
        before = built.get_weights()
        logs = built.evaluate(pairs(), return_dict=True, verbose=0)
        assert set(logs) == {"loss", "contrast_accuracy", "temperature", "feature_std"}
        for got, want in zip(built.get_weights(), before, strict=True):
            np.testing.assert_array_equal(got, want)


class TestSaved:
    @pytest.mark.parametrize(
        "options",
        [GLOBAL, {"temperature_scheme": "individual"}],
        ids=len,
    )
    @pytest.mark.slow(reason="a step is traced for each of three models")
    def test_resumed_is_uninterrupted_bit_for_bit(self, tmp_path, options):
        whole, first, second = (model(options={**options, "gamma_decay_steps": 9}) for _ in "abc")
        whole.fit(pairs(), epochs=3, verbose=0)
        first.fit(pairs(), epochs=1, verbose=0)
        Checkpoints(first, tmp_path).save()
        step = Checkpoints(second, tmp_path).restore()
        assert step == 3
        second.fit(pairs(), initial_step=step, epochs=3, verbose=0)
        assert_same_weights(second, whole)

    @pytest.mark.parametrize("suffix", [".keras", pytest.param(".weights.h5", marks=AGAIN)])
    def test_keras_files(self, tmp_path, suffix):
        built, again = model(), model()
        built.fit(pairs(), verbose=0)
        path = tmp_path / f"model{suffix}"
        if suffix == ".keras":
            built.save(path)
            again = keras.saving.load_model(path)
        else:
            built.save_weights(path)
            again.load_weights(path)
        assert_same_weights(again, built)
        np.testing.assert_array_equal(again.embed_texts(TEXTS), built.embed_texts(TEXTS))

    def test_vocabulary_of_other_size_is_refused(self, tmp_path):
        Checkpoints(model(), tmp_path).save()
        other = sogclr_tf.TextEncoder(vocabulary(["x y z"]), length=4, width=8, heads=2)
        with pytest.raises(ValueError, match="no checkpoint in .* fits this model"):
            Checkpoints(model(towers=(image_encoder(), other)), tmp_path).restore()


class TestExactObjective:
    """With all pairs in one batch, at their first visit, the two-way estimate is exact."""

    @pytest.mark.parametrize(
        ("scheme", "epsilon"), [("global", 0.2), ("constant", 0.0), ("individual", 0.2)]
    )
    @TRACED
    def test_two_way_estimates_it(self, scheme, epsilon):
        options = {"temperature_scheme": scheme, "rho": 1.5, "eta": 0.01, "epsilon": epsilon}
        built = model(options=options)
        built.fit(pairs(), epochs=2, verbose=0)
        whole = next(iter(built.prepare_dataset(pairs(batch_size=N).stream())))
        got = sogclr_tf.exact_global_objective(built, pairs(batch_size=N), block=10)
        fresh = build_loss("two_way", N, temperature=0.2, **options)
        for mine, theirs in zip(fresh.weights, built.contrastive_loss.weights, strict=True):
            if "log_u" not in mine.path:
                mine.assign(theirs)
        weights = [w.value for w in built.trainable_weights if "log_temperature" not in w.path]
        with tf.GradientTape() as tape:
            loss = fresh(*built.sides(whole), whole["index"])
        assert got.value == close(float(loss))
        wanted = tape.gradient(loss, weights)
        assert_all_close(got.gradients, map(tf.convert_to_tensor, wanted))


class TestBadInput:
    def test_views_instead_of_pairs(self):
        views = sogclr_tf.training_views(IMAGES, batch_size=BATCH)
        with pytest.raises(ValueError, match="with image, text, index, as .*training_pairs makes"):
            model().fit(views)

    def test_pairs_instead_of_views(self):
        built = sogclr_tf.SogCLR(image_encoder(), sogclr_tf.NTXentLoss())
        built.compile("sgd")
        with pytest.raises(ValueError, match="with view_a, view_b, index, as .*training_views"):
            built.fit(pairs())

    def test_texts_of_the_wrong_kind(self):
        batch = {"image": IMAGES, "text": np.zeros((N, 3)), "index": np.arange(N)}
        with pytest.raises(ValueError, match=r"expected strings \[B\], or token ids \[B, L\]"):
            model().fit(batch)

    def test_token_ids_of_another_length(self):
        batch = {"image": IMAGES, "text": np.zeros((N, 7), int), "index": np.arange(N)}
        with pytest.raises(ValueError, match=r"the encoder takes \(None, 4\), but 'text' is"):
            model().fit(batch)

    def test_projections_of_different_width(self):
        towers = image_encoder(), text_encoder()
        layers = keras.layers.Dense(8), keras.layers.Dense(9)
        with pytest.raises(ValueError, match="of images are 8 wide, of texts 9"):
            sogclr_tf.TwoTowerSogCLR(*towers, sogclr_tf.CLIPLoss(), *layers)

    def test_loss_that_is_none(self):
        with pytest.raises(TypeError, match="such as sogclr_tf.TwoWayGlobalContrastiveLoss"):
            sogclr_tf.TwoTowerSogCLR(image_encoder(), text_encoder(), "clip")

    def test_table_too_small(self):
        with pytest.raises(ValueError, match="give it num_examples=24"):
            model(num_examples=10).fit(pairs())
