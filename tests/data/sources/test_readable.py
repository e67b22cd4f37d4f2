"""Images that cannot be decoded: told by name and index, or left out, and never a crash."""

import numpy as np
import pytest
import tensorflow as tf
from support import processes
from support.files import example, write_folder, write_records

import sogclr_tf
from sogclr_tf import Policy, training_views
from sogclr_tf.data.evaluation_images import evaluation_set
from sogclr_tf.data.sources.readable import readable
from sogclr_tf.networks import encoders

POLICY = Policy(size=6, jitter=0, grayscale=0)


def images(count=12, side=16):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def broken_folder(folder, bad=(2, 7)):
    write_folder(folder, images())
    for place in bad:
        path = folder / f"{place:05}.png"
        path.write_bytes(path.read_bytes()[:40])
    return sogclr_tf.FolderSource(folder)


def indices(made, epoch=0):
    return [
        int(index) for batch in made.epoch(epoch).as_numpy_iterator() for index in batch["index"]
    ]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SOGCLR_TF_CACHE", str(tmp_path / "cache"))


def mutated(rng, files):
    """The bytes of one of `files`, spoilt in one of the ways that files are."""
    data = bytearray(files[rng.integers(len(files))])
    kind = rng.integers(6)
    if kind == 0:
        del data[rng.integers(len(data)) :]
    elif kind == 1:
        for place in rng.integers(0, len(data), rng.integers(1, 9)):
            data[place] ^= 1 << rng.integers(8)
    elif kind == 2:
        begin = rng.integers(len(data))
        del data[begin : begin + rng.integers(1, 60)]
    elif kind == 3:
        begin = rng.integers(min(len(data), 64))
        data[begin : begin + 4] = rng.bytes(4)
    elif kind == 4:
        data = bytearray(rng.bytes(rng.integers(200)))
    return bytes(data)


class TestFuzz:
    """Truncated, bits flipped, parts cut out, headers overwritten, noise, and wrong suffixes."""

    @pytest.mark.slow(reason="500 files")
    def test_500_spoilt_files(self, tmp_path):
        rng = np.random.default_rng(0)
        picture = images(1, 24)[0]
        encoders = (
            tf.io.encode_jpeg,
            tf.io.encode_png,
            lambda image: tf.io.encode_jpeg(image, progressive=True),
            lambda image: tf.io.encode_png(tf.cast(image, tf.uint16) * 257),
        )
        files = [encode(picture).numpy() for encode in encoders]
        folder = tmp_path / "spoilt"
        folder.mkdir()
        suffixes = (".jpg", ".png", ".webp", ".bmp", ".gif")
        for place in range(500):
            name = f"{place:03}{suffixes[rng.integers(len(suffixes))]}"
            (folder / name).write_bytes(mutated(rng, files))
        source = sogclr_tf.FolderSource(folder)
        left = readable(source)
        assert 50 < len(left.skipped) < 450
        assert left.size + len(left.skipped) == left.num_examples == 500
        for index in range(500):
            contents = tf.io.read_file(source.locate(index))
            try:
                source.decode(contents)
            except tf.errors.InvalidArgumentError:
                assert index in left.skipped
            else:
                assert index not in left.skipped
        made = training_views(left, batch_size=2, policy=POLICY)
        visited = indices(made)
        assert len(set(visited)) == len(visited) == left.size // 2 * 2
        assert not left.skipped.keys() & set(visited)


class TestSkip:
    @pytest.mark.slow(reason="a training on what is left")
    def test_the_others_keep_their_indices(self, tmp_path):
        source = broken_folder(tmp_path / "images")
        made = training_views(source, batch_size=5, policy=POLICY, on_error="skip")
        assert (made.num_examples, made.steps_per_epoch) == (12, 2)
        assert set(made.source.skipped) == {2, 7}
        for epoch in range(2):
            assert sorted(indices(made, epoch)) == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11]
        assert indices(made, 0) != indices(made, 1)
        steps = list(made.stream().take(4).as_numpy_iterator())
        resumed = list(made.stream(3).take(1).as_numpy_iterator())
        np.testing.assert_array_equal(steps[3]["view_a"], resumed[0]["view_a"])

    def test_evaluation_leaves_them_out_with_their_labels(self, tmp_path):
        folder = write_folder(tmp_path / "images", images(), np.arange(12) % 3)
        (folder / "class1" / "00004.png").write_bytes(b"")
        source = readable(sogclr_tf.FolderSource(folder))
        pictures, labels = evaluation_set(source, 16)
        assert len(list(pictures)) == len(labels) == 11
        assert labels.tolist() == [0] * 4 + [1] * 3 + [2] * 4

    def test_all_are_decoded_once(self, tmp_path, monkeypatch):
        broken_folder(tmp_path / "images")
        scans = []
        scan = readable.__globals__["unreadable"]
        monkeypatch.setitem(
            readable.__globals__, "unreadable", lambda *a: scans.append(1) or scan(*a)
        )
        for _ in range(2):
            assert len(readable(sogclr_tf.FolderSource(tmp_path / "images")).skipped) == 2
        assert len(scans) == 1
        write_folder(tmp_path / "images", images()[:3])
        assert set(readable(sogclr_tf.FolderSource(tmp_path / "images")).skipped) == {7}
        assert len(scans) == 2

    def test_records(self, tmp_path):
        encoded = [tf.io.encode_png(image).numpy() for image in images()]
        encoded[4] = b"no image"
        path = write_records(
            tmp_path / "a.tfrecord", [example(image__encoded=data) for data in encoded]
        )
        left = readable(sogclr_tf.TFRecordSource(str(path), label=None))
        assert list(left.skipped) == [4]
        assert "no image" in left.skipped[4]

    def test_nothing_to_skip(self, tmp_path):
        source = sogclr_tf.FolderSource(write_folder(tmp_path / "images", images()))
        assert readable(source) is source
        array = sogclr_tf.ArraySource(images())
        assert readable(array) is array
        assert source.skipped == array.skipped == {}

    def test_nothing_left(self, tmp_path):
        source = broken_folder(tmp_path / "images", bad=range(12))
        with pytest.raises(ValueError, match=r"none of the 12 images of .*00000\.png: "):
            readable(source)


class TestErrors:
    def model(self, num_examples):
        encoder = encoders.build_encoder("small_resnet", (6, 6, 3), widths=(4,))
        model = sogclr_tf.SogCLR(encoder, sogclr_tf.GlobalContrastiveLoss(num_examples))
        model.compile("sgd")
        return model

    def test_training_names_file_and_index(self, tmp_path):
        source = broken_folder(tmp_path / "images", bad=(7,))
        made = training_views(source, batch_size=4, policy=POLICY)
        message = r"00007\.png \(index 7\) cannot be decoded: .*on_error='skip'"
        with pytest.raises(ValueError, match=message) as raised:
            self.model(12).fit(made, epochs=3, verbose=0)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize("bad", [(), (2,)])
    @pytest.mark.slow(reason="several streams of files that break")
    def test_what_breaks_later_is_left_out_at_the_next_start(self, tmp_path, bad):
        source = broken_folder(tmp_path / "images", bad)
        options = {"batch_size": 4, "policy": POLICY, "on_error": "skip"}
        made = training_views(source, **options)
        (tmp_path / "images" / "00009.png").write_bytes(b"")
        with pytest.raises(ValueError, match=r"00009\.png \(index 9\) cannot be decoded"):
            self.model(12).fit(made, epochs=3, verbose=0)
        assert set(training_views(source, **options).source.skipped) == {*bad, 9}

    def test_a_file_that_went_away(self, tmp_path):
        source = sogclr_tf.FolderSource(write_folder(tmp_path / "images", images()))
        (tmp_path / "images" / "00003.png").unlink()
        made = training_views(source, batch_size=4, policy=POLICY)
        with pytest.raises(
            ValueError, match=r"00003\.png \(index 3\) cannot be decoded: .*No such"
        ):
            self.model(12).fit(made, verbose=0)

    def test_samples_name_it(self, tmp_path):
        source = broken_folder(tmp_path / "images", bad=range(11))
        made = training_views(source, batch_size=4, policy=POLICY)
        with pytest.raises(ValueError, match=r"\.png \(index \d+\) cannot be decoded"):
            made.samples(8)

    def test_on_error(self):
        with pytest.raises(ValueError, match="on_error is 'ignore': expected raise or skip"):
            training_views(images(), batch_size=4, on_error="ignore")


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.slow(reason="a run of the command, or several")
def test_run(tmp_path, on_error):
    """The command stops with a line, or lists what it left out."""
    folder = tmp_path / "pets"
    for split in ("train", "test"):
        write_folder(folder / split, images(40), np.arange(40) % 2)
    for place in (5, 6):
        next((folder / "train").rglob(f"{place:05}.png")).write_bytes(b"\x89PNG\r\n\x1a\n")
    settings = {
        "data.name": folder,
        "data.train_split": "train",
        "data.test_split": "test",
        "data.image_size": 8,
        "data.on_error": on_error,
        "batch_size": 16,
        "epochs": 5,
        "encoder.widths": "(4,)",
    }
    arguments = [f"--config.{key}={value}" for key, value in settings.items()]
    process = processes.run("-m", "sogclr_tf.run", "--workdir", tmp_path / "run", *arguments)
    if on_error == "raise":
        assert process.returncode == 1
        last = process.stderr.strip().splitlines()[-1]
        assert "cannot be decoded" in last
        assert "(index" in last
        return
    assert process.returncode == 0, process.stderr
    assert "skipped    2 examples that cannot be used" in process.stdout
    lines = (tmp_path / "run" / "skipped.txt").read_text().splitlines()
    assert [line.split("\t")[1].rpartition("/")[2] for line in lines] == ["00006.png", "00005.png"]
