"""The command on pairs in tar shards, from the first step over a kill to served towers."""

import json
import signal
import time

import numpy as np
import pytest
import tensorflow as tf
from support import processes, tars
from support.command import command
from support.numerics import assert_close

import sogclr_tf
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.experiment.folder import RunFolder

N, SIDE, EPOCHS = 48, 16, 6
KINDS = ["red", "green", "blue"]
ARGUMENTS = [
    "--config=configs/emoji_text.py",
    "--config.data.name=./{split}/*.tar",
    "--config.data.text=json/captions",
    f"--config.data.image_size={SIDE}",
    "--config.batch_size=8",
    f"--config.epochs={EPOCHS}",
    "--config.encoder.widths=(4,8)",
    "--config.checkpoint.every_epochs=1",
    "--config.monitor.every_epochs=1",
    "--workdir=run",
]


def write_pairs(folder, count, seed):
    """Shards of images whose captions, one or two of each, name their brightest channel."""
    images = np.random.default_rng(seed).integers(0, 60, (count, SIDE, SIDE, 3)).astype(np.uint8)
    images[np.arange(count), :, :, np.arange(count) % 3] += 150
    captions = [
        [f"{KINDS[k % 3]} number {k}", f"a {KINDS[k % 3]} square"][: 1 + k % 2]
        for k in range(count)
    ]
    several = [json.dumps({"captions": each}).encode() for each in captions]
    tars.write_shards(folder, images, shards=2, json=several)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """(folder, the process that went on) of a run that was killed after its first checkpoint."""
    cwd = tmp_path_factory.mktemp("tar_run")
    write_pairs(cwd / "train", N, 0)
    write_pairs(cwd / "test", N // 2, 1)
    process = processes.Process("-m", "sogclr_tf.run", *ARGUMENTS, cwd=cwd)
    while not list((cwd / "run" / "checkpoints").glob("step-*.index")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    again = command(*ARGUMENTS, cwd=cwd)
    assert again.returncode == 0, again.stderr
    return RunFolder(cwd / "run"), again


@pytest.mark.slow(reason="a run of the command, started twice")
def test_it_went_on_and_was_watched_at_every_epoch(killed):
    folder, process = killed
    assert "resumed at step" in process.stderr
    history = folder.history()
    assert history["epoch"] == list(range(EPOCHS))
    assert np.isfinite(history["text_to_image_recall5"]).all()
    result = folder.read_result()
    assert (result["steps"], result["num_examples"]) == (EPOCHS * N // 8, N)
    assert (result["test_images"], result["test_pairs"]) == (N // 2, N // 2 + N // 4)


@pytest.mark.slow(reason="a run of the command, started twice")
def test_the_report_and_the_tables(killed):
    folder, _ = killed
    html = folder.report.read_text()
    assert "Retrieval<" in html
    assert "square" in html
    shapes = dict(tf.train.list_variables(str(folder.path / "checkpoints" / f"step-{EPOCHS * 6}")))
    tables = sorted(shape for name, shape in shapes.items() if "log_u" in name)
    assert tables == [[N], [N + N // 2]]


@pytest.mark.slow(reason="a run of the command, started twice")
def test_served_embeddings_are_those_that_were_scored(killed):
    folder, _ = killed
    image, text = (
        tf.saved_model.load(str(folder.saved_model / side / str(EPOCHS * 6)))
        for side in ("image", "text")
    )
    pattern = str(folder.path.parent / "test" / "*.tar")
    source = sogclr_tf.TarSource(pattern, text="json/captions")
    images, _ = evaluation_set(source, SIDE)
    batch = tf.constant(np.stack(list(images)))
    of_images = image.signatures["serving_default"](images=batch)["embeddings"]
    files = tf.stack([tf.io.encode_png(tf.cast(255 * one + 0.5, tf.uint8)) for one in batch])
    of_files = image.signatures["serving_bytes"](image_bytes=files)["embeddings"]
    assert_close(of_files, of_images, terms=SIDE * SIDE)
    texts = source.texts()
    of_texts = text.signatures["serving_default"](texts=tf.constant(texts))["embeddings"]
    owners = np.repeat(np.arange(source.size), np.diff(source.caption_offsets))
    found = sogclr_tf.recall(of_images, of_texts, (5,), image_of_text=owners)
    want = folder.read_result()["text_to_image_recall5"]
    # Ties aside, which rounding may break otherwise.
    assert found.text_to_image[5] == pytest.approx(want, abs=2.5 / len(texts))
