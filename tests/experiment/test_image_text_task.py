"""The command on images and texts, as a user starts it."""

import json

import ml_collections
import numpy as np
import pytest
import tensorflow as tf
from support import tars
from support.command import command

import sogclr_tf
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.experiment import build
from sogclr_tf.experiment.config import check_config, default_config
from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.experiment.image_text_task import ImageTextTask

SMALL = [
    "--config=configs/emoji_text.py",
    "--config.epochs=2",
    "--config.monitor.every_epochs=1",
    "--config.optimizer.warmup_epochs=0.5",
    "--config.data.train_split=train[:20%]",
]


of_a_run = pytest.mark.slow(reason="a run of the command")


@pytest.fixture(scope="module")
def finished(emoji_dir, tmp_path_factory):
    """A small run on the emoji, start to end: (folder, process)."""
    cwd = tmp_path_factory.mktemp("run")
    measured = "--config.monitor.normalizer_every_epochs=2"
    process = command(*SMALL, f"--config.data.data_dir={emoji_dir}", measured, cwd=cwd)
    assert process.returncode == 0, process.stderr
    return RunFolder(cwd / "runs" / "emoji_text"), process


@of_a_run
def test_result_and_closing_table(finished):
    folder, process = finished
    result = json.loads(folder.result.read_text())
    assert (result["steps"], result["test_pairs"]) == (2 * (343 // 32), 193)
    for way in ("image_to_text", "text_to_image"):
        found = [result[f"{way}_recall{k}"] for k in (1, 5, 10)]
        assert 0 <= found[0] <= found[1] <= found[2] <= 1
    data, encoder, texts, *_ = process.stdout.splitlines()
    assert data == "data       emoji[train[:20%]]: 343 images, 343 texts, 9 classes"
    assert (encoder[:10], texts[:17]) == ("encoder   ", "of texts   words,")
    table = process.stdout.rpartition("Epoch 2/2")[2]
    for line in ("recall on 193 test pairs", "text to image", "by chance", "zero-shot top-1"):
        assert line in table
    assert f"{result['text_to_image_recall10']:.1%}" in table
    assert "on frozen features" not in table


@of_a_run
def test_it_was_judged_while_it_trained(finished):
    """At the end as the evaluation of the same pairs."""
    folder, process = finished
    history, result = folder.history(), folder.read_result()
    for name in ("image_to_text_recall10", "text_to_image_recall1", "zero_shot_top1"):
        assert np.isfinite(history[name]).tolist() == [True, True]
        assert history[name][-1] == pytest.approx(result[name], abs=0.006)
    assert "text_to_image_recall1 0." in process.stdout


@of_a_run
def test_the_report_shows_what_was_found(finished):
    folder, _ = finished
    html = folder.report.read_text()
    for title in ("Retrieval", "Hard and easy images", "Text to image, recall@10"):
        assert f"{title}<" in html
    assert html.count('class="answers"') == html.count('class="asked"') == 12


@of_a_run
def test_every_file_is_there(finished):
    folder, _ = finished
    names = {path.name for path in folder.plots.iterdir()}
    assert names == {
        "views.png",
        "curves.png",
        "retrieval.png",
        "log_u_images.png",
        "log_u_texts.png",
        "normalizer.png",
    }
    measured = folder.measured_normalizer()
    # Of the images and of the texts.
    assert measured.compared + measured.never_visited == 2 * 343
    assert "temperature" in folder.metrics.read_text().splitlines()[0]


@of_a_run
def test_both_towers_are_served_and_agree_with_the_scores(finished, emoji_dir):
    """The recall of the exported towers, fed with files' own images and strings."""
    from sogclr_tf.evaluation import retrieval

    folder, _ = finished
    image, text = (
        tf.saved_model.load(str(folder.saved_model / side / "20")).signatures["serving_default"]
        for side in ("image", "text")
    )
    test = sogclr_tf.TfdsSource("emoji", "test", emoji_dir, text="caption")
    images, _ = evaluation_set(test, 32)
    of_images = image(images=tf.constant(np.stack(list(images))))["embeddings"]
    of_texts = text(texts=tf.constant(test.texts()))["embeddings"]
    found = retrieval.recall(of_images, of_texts, (10,))
    want = folder.read_result()["text_to_image_recall10"]
    assert found.text_to_image[10] == pytest.approx(want, abs=0.006)
    classes = tf.saved_model.load(str(folder.saved_model / "image" / "20"))
    found = classes.signatures["classify"](images=tf.constant(np.stack(list(images.take(2)))))
    assert found["probabilities"].shape == (2, 9)
    assert folder.keras_file.exists()


@of_a_run
def test_started_again_it_keeps_what_is_there(finished, emoji_dir):
    folder, _ = finished
    metrics = folder.metrics.read_bytes()
    cwd = folder.path.parents[1]
    process = command(*SMALL, f"--config.data.data_dir={emoji_dir}", cwd=cwd)
    assert process.returncode == 0, process.stderr
    assert "resumed at step 20" in process.stderr
    assert folder.metrics.read_bytes() == metrics


def test_the_vocabulary_that_the_config_asks_for(tmp_path):
    texts, settings = ["a red apple", "a red dog"], default_config().text_encoder
    config = ml_collections.ConfigDict({"text_encoder": settings})
    assert "apple" in build.text_vocabulary(config, lambda: texts)
    settings.update(tokenizer="bpe", max_tokens=520)
    trained = build.text_vocabulary(config, lambda: texts)
    assert 514 < trained.size <= 520
    settings.tokenizer = str(tmp_path / "merges.txt")
    with pytest.raises(ValueError, match="merges.txt', which is no file: choose words, bpe, or th"):
        build.text_vocabulary(config, lambda: texts)
    trained.save(settings.tokenizer)
    # A file needs no texts.
    np.testing.assert_array_equal(build.text_vocabulary(config, None).merges, trained.merges)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--config.loss.gama=1", "choose one of loss.beta, loss.bias"),
        (
            "--config.loss.name=simclr",
            "contrast pairs: choose one of clip, siglip, two_way",
        ),
        ("--config.loss.temperature_scheme=own", "choose one of constant, global, individual"),
        ("--config.data.text=words", "has no text 'words': choose one of caption"),
        ("--config.text_encoder.heads=3", "heads is 3"),
    ],
)
def test_one_clear_line(argument, message, emoji_dir, tmp_path):
    process = command(*SMALL, f"--config.data.data_dir={emoji_dir}", argument, cwd=tmp_path)
    assert process.returncode != 0
    assert message in process.stderr.replace("\n", " ")
    assert "Traceback" not in process.stderr


@pytest.mark.slow(reason="decodes all images once")
def test_pairs_from_tar_shards(tmp_path):
    """By pattern and member, with other names of members, and without what cannot be used."""
    texts = [b"" if k == 3 else b"word %d" % k for k in range(8)]
    images = np.zeros([8, 8, 8, 3], np.uint8)
    tars.write_shards(tmp_path / "train", images, txt=texts, label=[b"1"] * 8)
    config = default_config()
    config.data.name = f"{tmp_path}/{{split}}/*.tar"
    config.data.text, config.batch_size = "txt", 4
    config.data.features.label = "label"
    check_config(config)
    with pytest.raises(ValueError, match=r"00003 in .*01.tar \(index 3\) .*: its .txt is empty"):
        ImageTextTask(config, "train")
    config.data.on_error = "skip"
    (source,) = ImageTextTask(config, "train").sources
    assert source.labeled
    assert source.texts() == [text.decode() for text in texts if text]
    assert source.skipped == {3: "its .txt is empty"}
