"""The tables of the studies, in their files and in the pages, are what the recorded runs give."""

import sys

import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import study_batch_size
import study_bias
import study_captions
import study_estimator
import study_image_text
import study_runs
import study_virtual_batch
from studies import batch_size_report, bias_report

STUDIES = ROOT / "docs" / "study"


def recorded(name, program):
    return study_runs.read(STUDIES / f"{name}.jsonl", program.Run)


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows(text):
    """The cells of each row of Markdown's tables, without those of dashes."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [cells(line) for line in lines if not line.startswith("|---")]


def page(name):
    return rows((ROOT / name).read_text())


def written(folder):
    return {path.name: path.read_text() for path in folder.glob("*.md")}


class TestFiles:
    """Each file of a table is the one that its program writes of the results beside it."""

    def test_batch_size(self, tmp_path, monkeypatch):
        (tmp_path / "results.jsonl").write_bytes((STUDIES / "results.jsonl").read_bytes())
        monkeypatch.setattr(sys, "argv", ["study", "table", f"--workdir={tmp_path}"])
        study_batch_size.main()
        assert written(tmp_path) == {"table.md": (STUDIES / "table.md").read_text()}

    @pytest.mark.parametrize(
        ("name", "program", "write"),
        [
            ("bias", study_bias, bias_report.write),
            ("virtual_batch", study_virtual_batch, study_virtual_batch.write),
        ],
    )
    def test_with_a_picture(self, name, program, write, tmp_path):
        write(recorded(name, program), tmp_path)
        assert written(tmp_path) == {f"{name}.md": (STUDIES / f"{name}.md").read_text()}

    @pytest.mark.parametrize("program", [study_captions, study_image_text])
    def test_of_images_and_texts(self, program):
        name = program.__name__.removeprefix("study_")
        table = program.markdown(recorded(name, program))
        assert table == (STUDIES / f"{name}.md").read_text()


class TestPages:
    @pytest.mark.parametrize("name", ["table", "virtual_batch"])
    def test_whole_tables(self, name):
        shown = page("docs/batch_size.md")
        assert [row for row in rows((STUDIES / f"{name}.md").read_text()) if row not in shown] == []

    def test_of_the_estimate(self):
        """Methods have other names in the page."""
        shown = [row[2:] for row in page("docs/method.md") if len(row) == 7]
        found = study_estimator.summary(recorded("estimator", study_estimator))
        _, *table = rows(study_estimator.markdown(found))
        assert [row for row in table if row[2:] not in shown] == []

    @pytest.mark.parametrize("name", ["image_text", "captions"])
    def test_mean_recalls(self, name):
        """The last column, but for the captions' proximal rule, of which the page has a line."""
        shown = {cell for row in page("docs/image_text.md") for cell in row}
        first, *table = rows((STUDIES / f"{name}.md").read_text())
        means = [row[-1] for row in table if len(row) == len(first)]
        if name == "captions":
            means = [row[-1] for row in table if row[2] in ("clip", "two_way")]
        assert means
        assert set(means) - shown == set()

    @pytest.mark.parametrize("epochs", [12, 30])
    @pytest.mark.parametrize("batch", [16, 256])
    def test_of_the_readme(self, epochs, batch):
        found = recorded("results", study_batch_size)
        rate = study_batch_size.best_rate(found)
        summary = batch_size_report.summary(
            {run: scores for run, scores in found.items() if run.rate == rate}
        )
        of_row = {cell: summary[cell] for cell in summary if cell[:3] == (0.1, epochs, batch)}
        table = batch_size_report.tables(of_row, ("SimCLR", "SogCLR 0.9"))
        _, (_, *scores) = rows("\n".join(table))
        linear = [score.split(" / ")[0] for score in scores]
        ours = [row for row in page("README.md") if row[-1] == "ours"]
        long = [row[1:4] for row in ours if row[0].endswith("30 epochs")]
        short = [row[1:4] for row in ours if row[1:4] not in long]
        assert [f"{batch}", *linear] in (long if epochs == 30 else short)
