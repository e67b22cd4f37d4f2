"""A run whose images have several captions, as sources that have them give it."""

import importlib.util
import re

import numpy as np
import pytest
import tensorflow as tf
from support.paths import ROOT

import sogclr_tf
from sogclr_tf.experiment import image_text_task
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.experiment.summary import closing_table

N = 8
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3), np.uint8)
CAPTIONS = [[f"number {i} of {word}" for word in "abc"[: 1 + i % 3]] for i in range(N)]


def config(**changes):
    spec = importlib.util.spec_from_file_location("emoji", ROOT / "configs" / "emoji_text.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.get_config()
    made.batch_size, made.epochs = 4, 1
    made.encoder.widths = (4, 8)
    made.optimizer.warmup_epochs = 0.5
    made.update(changes)
    return made


@pytest.fixture
def from_arrays(monkeypatch):
    source = sogclr_tf.ArraySource(IMAGES, texts=CAPTIONS)
    monkeypatch.setattr(image_text_task, "from_name", lambda *_, **__: source)


@pytest.mark.slow(reason="a small training")
def test_trained_and_evaluated(from_arrays, tmp_path):  # noqa: ARG001
    task, folder = image_text_task.ImageTextTask(config(), "all"), RunFolder(tmp_path)
    model = task.compiled_model(tf.distribute.get_strategy())
    loss, captions = model.contrastive_loss, sum(map(len, CAPTIONS))
    assert (loss.num_examples, loss.num_captions) == (N, captions)
    model.fit(task.stream, epochs=1, verbose=0)
    assert np.isfinite(loss.log_u_b).sum() == N
    task.draw_tables(model, folder)
    task.evaluate(model, folder)
    result = folder.read_result()
    assert (result["test_pairs"], result["test_images"]) == (captions, N)
    of_texts = model.embed_texts([text for of_image in CAPTIONS for text in of_image])
    owners = np.repeat(np.arange(N), [len(of_image) for of_image in CAPTIONS])
    found = sogclr_tf.recall(model.embed_images(IMAGES), of_texts, (5,), image_of_text=owners)
    assert result["text_to_image_recall5"] == pytest.approx(found.text_to_image[5], abs=1e-4)
    assert result["image_to_text_recall5"] == pytest.approx(found.image_to_text[5], abs=1e-4)
    assert re.search(r"by chance \(text to image\) +12\.5%", closing_table(folder))


@pytest.mark.slow(reason="builds a model")
def test_clip_needs_no_number_of_captions(from_arrays):  # noqa: ARG001
    made = config()
    made.loss.name = "clip"
    task = image_text_task.ImageTextTask(made, "all")
    assert task.model().contrastive_loss.num_captions is None
