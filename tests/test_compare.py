"""The command on real run folders, without TensorFlow."""

import subprocess
import sys

import pytest
from support.chromium import complaints, read_page

from sogclr_tf.compare import compare
from sogclr_tf.experiment.folder import RunFolder

EVIL = "<script>alert('1')</script>&amp;"


def make_run(path, epochs=3, config=(), result=(), **columns):
    folder = RunFolder(path)
    folder.claim({"seed": 0, "loss": {"name": "sogclr", "temperature": 0.1}, **dict(config)})
    for epoch in range(epochs):
        metrics = {"loss": 2.0 - epoch, "contrast_accuracy": 0.5, **columns}
        folder.append_metrics(epoch, metrics)
    folder.update_result(**{"knn_top1": 0.9, "steps": 1200, **dict(result)})
    return folder.path


@pytest.fixture
def runs(tmp_path):
    """Two runs that differ in the loss, in the result and in a metric."""
    other = {"loss": {"name": "simclr", "temperature": 0.1}, "batch_size": 64}
    return [
        make_run(tmp_path / "first", result={"versions": {"keras": "3"}}),
        make_run(tmp_path / "second", config=other, result={"knn_top1": 0.955}, alignment=1.0),
    ]


@pytest.fixture
def output(tmp_path):
    return tmp_path / "compare.html"


def command(*arguments, cwd, program=("-m", "sogclr_tf.compare")):
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


class TestCommand:
    def test_prints_the_numbers_and_writes_the_page(self, runs, tmp_path):
        process = command(*(run.name for run in runs), cwd=tmp_path)
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""
        assert process.stdout.splitlines() == [
            "                     first  second",
            "Weighted kNN, top-1  90.0%   95.5%",
            "Steps                1,200   1,200",
            "",
            "page  compare.html",
        ]
        read_page(tmp_path / "compare.html")

    def test_starts_without_tensorflow(self, runs, output):
        program = (
            "import sys; from sogclr_tf.compare import compare; compare(sys.argv[2:], sys.argv[1]);"
            "print(*{'tensorflow', 'keras', 'sklearn'} & set(sys.modules))"
        )
        process = command(output, *runs, cwd=output.parent, program=("-c", program))
        assert process.returncode == 0, process.stderr
        assert process.stdout == "\n"

    def test_output(self, runs, tmp_path):
        process = command(*runs, "--output=elsewhere.html", cwd=tmp_path)
        assert process.stdout.endswith("page  elsewhere.html\n")
        assert (tmp_path / "elsewhere.html").exists()
        assert not (tmp_path / "compare.html").exists()

    def test_errors_take_one_line(self, runs, tmp_path):
        process = command(runs[0].name, cwd=tmp_path)
        assert process.returncode == 1
        assert process.stderr == (
            "error: got first: expected two run folders or more; name them all\n"
        )


class TestPage:
    def test_shows_in_a_browser(self, runs, output, tmp_path):
        compare(runs, output)
        assert complaints(output, tmp_path) == []

    def test_differences(self, runs, output):
        compare(runs, output)
        texts = read_page(output).texts
        place = texts.index("loss.name")
        assert texts[place : place + 3] == ["loss.name", "sogclr", "simclr"]
        place = texts.index("batch_size")
        assert texts[place : place + 3] == ["batch_size", "-", "64"]
        assert not {"seed", "loss.temperature"} & set(texts)

    def test_same_configs(self, tmp_path, output):
        compare([make_run(tmp_path / "a"), make_run(tmp_path / "b")], output)
        assert "The configs are the same." in read_page(output).texts

    def test_curves_that_runs_share_lie_over_one_another(self, runs, output):
        compare(runs, output)
        page = read_page(output)
        assert page.count("polyline") == 4
        assert page.count("i") == 2
        assert "Loss" in page.texts
        assert "Alignment" not in page.texts

    def test_the_best_is_bold(self, runs, output):
        compare(runs, output)
        text = output.read_text()
        assert '<td class="number best">95.5%</td>' in text
        assert text.count("number best") == 1

    def test_gaps_and_different_lengths(self, tmp_path, output):
        short = make_run(tmp_path / "short", epochs=1, knn_top1=0.5)
        long = make_run(tmp_path / "long", epochs=40, knn_top1=float("nan"))
        RunFolder(long).append_metrics(40, {"loss": 0.0, "contrast_accuracy": 1, "knn_top1": 0.6})
        compare([short, long], output)
        lines = [found["points"] for tag, found in read_page(output).tags if tag == "polyline"]
        assert sorted(len(line.split()) for line in lines) == [1, 1, 1, 1, 41, 41]

    def test_runs_that_have_not_ended(self, tmp_path, output):
        paths = [tmp_path / "a", tmp_path / "b"]
        for path in paths:
            RunFolder(path).claim({"seed": 0})
        assert compare(paths, output) == "  a  b\n"
        assert read_page(output).count("section") == 1

    def test_many_runs_have_colors_of_their_own(self, tmp_path, output):
        compare([make_run(tmp_path / f"run{k}") for k in range(12)], output)
        swatches = [found["style"] for tag, found in read_page(output).tags if tag == "i"]
        assert len(set(swatches)) == 12

    def test_escapes(self, tmp_path, output):
        names = [EVIL.replace("/", "-"), "second"]
        changes = {"config": {EVIL: EVIL}, "result": {EVIL: 1.0}, EVIL: 2.0}
        compare([make_run(tmp_path / names[0], **changes), make_run(tmp_path / names[1])], output)
        page = read_page(output)
        assert {EVIL, names[0]} <= set(page.texts)
        assert "<script" not in output.read_text()

    def test_same_names_take_their_parents(self, tmp_path, output):
        paths = [make_run(tmp_path / place / "run") for place in ("a", "b")]
        assert compare(paths, output).startswith("                     a/run  b/run\n")

    def test_where_only_a_grandparent_differs(self, tmp_path, output):
        paths = [make_run(tmp_path / place / "x" / "run") for place in ("a", "b")]
        assert "a/x/run  b/x/run" in compare(paths, output)


class TestRefuses:
    def test_no_such_folder(self, runs, tmp_path, output):
        with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
            compare([runs[0], tmp_path / "nowhere"], output)
        assert not (tmp_path / "nowhere").exists()

    def test_no_run_folder(self, runs, tmp_path, output):
        with pytest.raises(ValueError, match="is no run folder: expected a config.json"):
            compare([runs[0], tmp_path], output)

    @pytest.mark.parametrize("count", [0, 1])
    def test_too_few(self, runs, output, count):
        with pytest.raises(ValueError, match="expected two run folders or more"):
            compare(runs[:count], output)

    def test_one_twice(self, runs, output):
        with pytest.raises(ValueError, match=r"first.* is given twice"):
            compare([*runs, runs[0] / ".." / "first"], output)

    @pytest.mark.parametrize("name", ["config.json", "result.json"])
    def test_broken_json(self, runs, output, name):
        (runs[1] / name).write_text('{"seed": ')
        with pytest.raises(ValueError, match=r"second holds a file that is no JSON .*line 1"):
            compare(runs, output)

    def test_broken_metrics(self, runs, output):
        (runs[1] / "metrics.csv").write_text("epoch,loss\n0,low\n")
        with pytest.raises(ValueError, match=r"metrics.csv is no table of numbers .*'low'"):
            compare(runs, output)
        assert not output.exists()
