"""What is promised of every encoder, on one of each kind: to train, resume, be saved and served."""

import gc
import os
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.applications import FAMILIES, of_family
from support.bfloat16 import needs_bfloat16
from support.encoders import ENCODERS
from support.exhaustive import exhaustive
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf import Checkpoints, SaveCheckpoints

SLOW = pytest.mark.slow(reason="steps and exports of networks of full size are traced")
QUICK = ("random_depth",)
N, BATCH, EPOCHS = 8, 4, 2
STEPS = EPOCHS * (N // BATCH)
LABELS = np.arange(N) % 2
# As additions behind a feature go.
TERMS = 10_000
# Their steps take 10 to 40 s to trace and their exports as long; by default one family stands for
# all.
LONG = set(FAMILIES) - {"mobilenet_v3", *exhaustive([], ["convnext", "mobilenet", "vgg16"])}
# Their exports take more than all others.
LONGEST = {"inception_resnet_v2", "nasnet"}
ALL = os.environ.get("SOGCLR_TF_ALL_ENCODERS") == "1"
CHOSEN = [name for name in ENCODERS if ALL or name not in LONG]


def variables_of(model):
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


def values_of(variables):
    return [np.array(variable) for variable in variables]


def assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def train(model, views, folder):
    """Trains to the end from what the folder holds; the step of that, and the losses of epochs."""
    checkpoints = Checkpoints(model, folder)
    step = checkpoints.restore()
    save = SaveCheckpoints(checkpoints, every_steps=STEPS - 1)
    history = model.fit(views, epochs=EPOCHS, initial_step=step, callbacks=[save], verbose=0)
    return step, history.history["loss"]


def unit(images):
    return images / np.float32(255)


@pytest.fixture(
    scope="module", params=[pytest.param(x, marks=() if x in QUICK else SLOW) for x in CHOSEN]
)
def trained(request, tmp_path_factory):
    """A model that was trained, with what went into it and what its variables were before."""
    # The last one and the graphs of its steps, which hold each other: gigabytes of a few networks.
    gc.collect()
    build, side, options = ENCODERS[request.param]
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (N, side, side, 3), np.uint8)
    policy = sogclr_tf.Policy(size=side, min_area=0.5)
    views = sogclr_tf.training_views(images, batch_size=BATCH, policy=policy)
    model = sogclr_tf.SogCLR(build(), sogclr_tf.GlobalContrastiveLoss(N), **options)
    model.compile(keras.optimizers.Adam(1e-3))
    if not model.built:
        model.build((None, side, side, 3))
    model.optimizer.build(model.trainable_variables)
    before = values_of(variables_of(model))
    folder = tmp_path_factory.mktemp(request.param)
    _, losses = train(model, views, folder)
    return types.SimpleNamespace(
        name=request.param, build=build, images=images, views=views, model=model, folder=folder,
        before=before, after=values_of(variables_of(model)), losses=losses,
        features=np.asarray(model.encoder(unit(images), training=False)),
    )  # fmt: skip


def test_fit(trained):
    assert len(trained.losses) == EPOCHS
    assert np.all(np.isfinite(trained.losses))
    assert np.all(np.isfinite(trained.features))
    was = dict(zip(map(id, variables_of(trained.model)), trained.before, strict=True))
    encoder = trained.model.encoder
    moved = {id(x): bool(np.any(np.asarray(x) != was[id(x)])) for x in encoder.weights}
    assert [x.path for x in encoder.trainable_weights if not moved[id(x)]] == []
    frozen = [x for layer in encoder.layers if not layer.trainable for x in layer.weights]
    assert [x.path for x in frozen if moved[id(x)]] == []
    assert bool(frozen) == (trained.name in ("frozen", "vit"))


def test_a_resumed_training_ends_as_one_that_was_not_interrupted(trained):
    for path in trained.folder.glob(f"step-{STEPS}.*"):
        path.unlink()
    variables = variables_of(trained.model)
    assign(variables, trained.before)
    step, losses = train(trained.model, trained.views, trained.folder)
    resumed = values_of(variables)
    # What the other tests look at.
    assign(variables, trained.after)
    assert step == STEPS - 1
    assert losses == trained.losses[1:]
    for variable, got, want in zip(variables, resumed, trained.after, strict=True):
        np.testing.assert_array_equal(got, want, err_msg=variable.path)


def test_of_a_checkpoint(trained):
    encoder = trained.build()
    # A subclassed model has no weights before.
    encoder(unit(trained.images))
    encoder = sogclr_tf.load_encoder(trained.folder, encoder)
    assert_close(encoder(unit(trained.images), training=False), trained.features, TERMS)


def test_of_a_keras_file(trained, tmp_path):
    path = sogclr_tf.export_keras(trained.model, tmp_path / "encoder.keras")
    encoder = keras.models.load_model(path)
    assert_close(encoder(unit(trained.images), training=False), trained.features, TERMS)


def assert_served(model, images, features, folder):
    """Of images and of PNG files an export gives the encoder's features."""
    path = sogclr_tf.export_encoder(model, folder, image_shape=images.shape[1:])
    encoder = sogclr_tf.load_encoder(path)
    assert_close(encoder(unit(images)), features, TERMS)
    files = tf.stack([tf.io.encode_png(image) for image in images])
    serve = tf.saved_model.load(str(path)).signatures["serving_bytes"]
    assert_close(serve(image_bytes=files)["features"], features, TERMS)


@SLOW
def test_of_an_export(trained, tmp_path):
    assert_served(trained.model, trained.images, trained.features, tmp_path)


def test_evaluation(trained):
    encoder, images = trained.model.encoder, trained.images
    assert_close(sogclr_tf.extract_features(encoder, images), trained.features, TERMS)
    scores = sogclr_tf.evaluate_encoder(encoder, images, LABELS, images, LABELS, k=1)
    # After four steps, running averages may let all images look alike.
    assert 0 <= scores.knn_top1[1] <= 1
    assert 0 <= scores.linear.top1 <= 1
    np.testing.assert_array_equal(scores.train_features, scores.test_features)


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=() if x in QUICK else SLOW) for x in ENCODERS if x not in FAMILIES],
)
@needs_bfloat16
@pytest.mark.usefixtures("bfloat16_policy")
def test_features_are_float32_in_mixed_precision(name):
    """Those of keras.applications are in `test_keras_applications.py`."""
    build, side, options = ENCODERS[name]
    model = sogclr_tf.SogCLR(build(), sogclr_tf.GlobalContrastiveLoss(N), **options)
    images = np.random.default_rng(0).integers(0, 256, (N, side, side, 3), np.uint8)
    features = sogclr_tf.extract_features(model.encoder, images)
    assert features.dtype == np.float32
    assert np.all(np.isfinite(features))


@SLOW
@pytest.mark.skipif(ALL, reason="of trained ones above")
@pytest.mark.parametrize("family", exhaustive(["vgg16"], sorted(LONG - LONGEST)))
def test_of_an_export_of_random_weights(family, tmp_path):
    encoder = of_family(family)
    images = np.random.default_rng(0).integers(0, 256, (2, *encoder.input_shape[1:]), np.uint8)
    assert_served(encoder, images, encoder(unit(images), training=False), tmp_path)
