import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf import load_encoder
from sogclr_tf.data import labeled
from sogclr_tf.data.sources.arrays import digits
from sogclr_tf.evaluation import fine_tune, linear_evaluation
from sogclr_tf.evaluation.features import extract_features
from sogclr_tf.export.load import ServedEncoder
from sogclr_tf.training.optimizers import build_optimizer, optimizer_names

IMAGES = np.random.default_rng(0).random((5, 8, 8, 3)).astype(np.float32)


def new(widths=(4, 6), **options):
    return sogclr_tf.small_resnet(widths=widths, **({"input_shape": (8, 8, 3)} | options))


def features(encoder):
    return np.asarray(encoder(IMAGES, training=False))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(run folder with two checkpoints, features of step 0, of step 2), the newest trained."""
    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(0)
    model = sogclr_tf.SogCLR(new(), sogclr_tf.GlobalContrastiveLoss(num_examples=8))
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    checkpoints = sogclr_tf.Checkpoints(model, folder / "checkpoints")
    checkpoints.save()
    first = features(model.encoder)
    views = sogclr_tf.training_views(np.tile(IMAGES, (2, 1, 1, 1))[:8], batch_size=4)
    model.fit(views, epochs=1, verbose=0)
    checkpoints.save()
    model.save(folder / "model.keras")
    model.encoder.save(folder / "encoder.keras")
    sogclr_tf.export_encoder(model, folder / "saved_model", version=2)
    sogclr_tf.export_encoder(new(), folder / "saved_model", version=1)
    return folder, first, features(model.encoder)


@pytest.mark.parametrize("path", ["", "checkpoints", "checkpoints/step-2"])
def test_a_checkpoint_gives_the_encoder_back(run, path):
    folder, _, expected = run
    encoder = new(name="another")
    assert load_encoder(folder / path, encoder) is encoder
    np.testing.assert_array_equal(features(encoder), expected)
    assert encoder.trainable_weights


def test_an_older_checkpoint_is_chosen_by_its_name(run):
    folder, expected, _ = run
    encoder = load_encoder(str(folder / "checkpoints" / "step-0"), new())
    np.testing.assert_array_equal(features(encoder), expected)


def test_the_image_encoder_of_two_towers(tmp_path):
    texts = sogclr_tf.TextEncoder(sogclr_tf.vocabulary(["a cat", "a dog"]))
    loss = sogclr_tf.TwoWayGlobalContrastiveLoss(num_examples=8)
    model = sogclr_tf.TwoTowerSogCLR(new(), texts, loss)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    sogclr_tf.Checkpoints(model, tmp_path).save()
    encoder = load_encoder(tmp_path, new())
    np.testing.assert_array_equal(features(encoder), features(model.image_encoder))


each_optimizer = pytest.mark.slow(reason="a model of each optimizer")


def averaging(name):
    optimizer = build_optimizer(name.removesuffix(", loss scaled"), 0.5, ema=0.75)
    scaled = name.endswith("scaled")
    return keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer


def two_towers(encoder):
    texts = sogclr_tf.TextEncoder(sogclr_tf.vocabulary(["a cat", "a dog"]))
    return sogclr_tf.TwoTowerSogCLR(encoder, texts, sogclr_tf.CLIPLoss())


def one_tower(encoder):
    return sogclr_tf.SogCLR(encoder, sogclr_tf.NTXentLoss())


def frozen_stem():
    encoder = new()
    encoder.layers[1].trainable = False
    return encoder


@pytest.mark.parametrize(
    ("optimizer", "encoder", "model"),
    [
        ("lars, loss scaled", new, two_towers),
        ("sgd", frozen_stem, one_tower),
        *(pytest.param(name, new, one_tower, marks=each_optimizer) for name in optimizer_names()),
    ],
)
def test_a_checkpoint_with_averages_gives_the_averages(tmp_path, optimizer, encoder, model):
    """Those that Keras ends a training with; before the first step, when they are 0, weights."""
    built = model(encoder())
    built.compile(averaging(optimizer))
    checkpoints = sogclr_tf.Checkpoints(built, tmp_path)
    checkpoints.save()
    own = built.encoder if model is one_tower else built.image_encoder
    for got, want in zip(load_encoder(tmp_path, new()).weights, own.weights, strict=True):
        np.testing.assert_array_equal(got, want)
    weights = built.trainable_weights
    for _ in range(2):
        built.optimizer.apply([-tf.ones(weight.shape) for weight in weights], weights)
    built._trained_steps.assign(2)
    checkpoints.save()
    before = features(own)
    loaded = load_encoder(tmp_path, new())
    assert not np.array_equal(features(loaded), before)
    built.optimizer.finalize_variable_values(weights)
    for got, want in zip(loaded.weights, own.weights, strict=True):
        np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(features(loaded), features(own))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (lambda: new((4, 7)), r"stage2_block1_conv1/kernel is \(3, 3, 4, 7\) in the encoder, "),
        (lambda: new((4,)), r"stage2_\S+ is missing in the encoder, \(.*\) in the checkpoint"),
        (lambda: new((4, 6, 8)), r"stage\S+ is \(.*\) in the encoder, missing in the checkpoint"),
        (lambda: new((4, 6), blocks_per_stage=2), r"stage\S+ is \(.*\) in the encoder"),
        (lambda: None, "holds values alone: pass the encoder, built"),
        (lambda: keras.Sequential([keras.layers.Dense(3)]), "pass the encoder, built"),
    ],
)
def test_a_checkpoint_that_does_not_fit(run, encoder, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_encoder(run[0], encoder())
    assert "step-2" in str(caught.value)
    assert "config it was made with" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_does_not_fit_changes_nothing(run):
    encoder = new((4, 7))
    before = features(encoder)
    with pytest.raises(ValueError, match="does not fit"):
        load_encoder(run[0], encoder)
    np.testing.assert_array_equal(features(encoder), before)


def test_what_is_no_checkpoint_of_this_package(tmp_path):
    tf.train.Checkpoint(net=new()).write(str(tmp_path / "step-1"))
    with pytest.raises(ValueError, match="step-1 holds no encoder: expected a checkpoint of"):
        load_encoder(tmp_path, new())


@pytest.mark.parametrize("name", ["step-7.index", "step-7.data-00000-of-00001"])
def test_a_truncated_checkpoint(run, tmp_path, name):
    for file in (run[0] / "checkpoints").glob("step-2.*"):
        (tmp_path / file.name.replace("step-2", "step-7")).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:100])
    with pytest.raises(ValueError, match=r"step-7 cannot be read \(.*\): choose another") as caught:
        load_encoder(tmp_path, new())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["saved_model", "saved_model/2"])
def test_a_saved_model_is_an_encoder(run, path):
    folder, _, expected = run
    encoder = load_encoder(folder / path)
    assert isinstance(encoder, ServedEncoder)
    assert encoder.path == folder / "saved_model" / "2"
    assert encoder.input_shape == (None, 8, 8, 3)
    assert_close(features(encoder), expected)
    extracted = extract_features(encoder, IMAGES, batch_size=2)
    assert_close(extracted, expected)


def test_a_saved_model_is_judged_but_not_trained(run):
    encoder = load_encoder(run[0] / "saved_model")
    source, policy = digits("train"), labeled.crops_and_flips(8)
    found = linear_evaluation.linear_evaluation(
        encoder, source, source, policy, epochs=1, verbose=0
    )
    assert found.predictions.shape == (source.size,)
    with pytest.raises(TypeError, match=r"saved_model/2 cannot be fine-tuned, as it is no Keras"):
        fine_tune.fine_tune(encoder, source, source, policy, percent=10)
    with pytest.raises(ValueError, match=r"saved_model/2 cannot be trained: load its checkpoint"):
        encoder(IMAGES, training=True)
    with pytest.raises(ValueError, match=r"images are \(5, 7, 8, 3\), but the SavedModel .* takes"):
        encoder(IMAGES[:, :7])


def test_another_saved_model_is_refused(tmp_path):
    module = tf.Module()
    double = tf.function(lambda x: {"y": 2 * x}, input_signature=[tf.TensorSpec([None])])
    for name, signatures in (("other", {"serving_default": double}), ("none", {})):
        tf.saved_model.save(module, str(tmp_path / name), signatures)
    with pytest.raises(ValueError, match="other maps x to y: expected images to features"):
        load_encoder(tmp_path / "other")
    with pytest.raises(ValueError, match="none maps nothing to nothing: expected images"):
        load_encoder(tmp_path / "none")
    (tmp_path / "other" / "saved_model.pb").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"other cannot be read \(.*\): export it again") as caught:
        load_encoder(tmp_path / "other")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.keras", "encoder.keras"])
def test_a_keras_file_gives_its_encoder(run, name):
    folder, _, expected = run
    encoder = load_encoder(folder / name)
    assert_close(features(encoder), expected, terms=4)
    assert fine_tune.copied(encoder).trainable_weights


def test_a_broken_keras_file(tmp_path):
    path = tmp_path / "broken.keras"
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"broken.keras cannot be read \(.*\): save the") as caught:
        load_encoder(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (".", "holds no encoder"),
        ("versions", "holds no encoder"),
        ("missing", "does not exist"),
        ("missing.keras", "does not exist"),
    ],
)
def test_what_is_no_encoder(tmp_path, path, what):
    (tmp_path / "versions" / "latest").mkdir(parents=True)
    pathlib.Path(tmp_path / "versions" / "latest" / "saved_model.pb").touch()
    with pytest.raises(ValueError, match=f"{what}: expected a run folder, .* .keras file"):
        load_encoder(tmp_path / path)
