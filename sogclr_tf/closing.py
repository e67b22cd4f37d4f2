"""What a run says in a terminal when it is done."""

import re

from sogclr_tf import image_text_run


def closing_table(folder):
    """The numbers of a run and where its files lie, as text for a terminal."""
    result = folder.read_result()
    lines = ["", f"run        {folder.path}"]
    if "steps" in result:
        lines.append(
            f"trained    {result['steps']:,} steps over {result['num_examples']:,} examples, "
            f"{result['examples_per_second']:,.0f} examples/s"
        )
    lines += _score_lines(result)
    for name, scores in result.get("transfer", {}).items():
        lines += _score_lines(scores, f"on {name}")
    if result.get("skipped"):
        lines.append(
            f"skipped    {result['skipped']:,} images that cannot be decoded: {folder.skipped}"
        )
    recalls = image_text_run.scores(result)
    lines += ["", *recalls] if recalls else []
    lines.append("")
    lines += [f"{what:12} {path}" for what, path in folder.files()]
    return "\n".join(lines) + "\n"


def _score_lines(scores, where="on frozen features"):
    """The accuracies of an encoder, untrained beside trained where both are known."""
    names = [name for name in scores if re.search(r"_top[15]$", name)]
    names = [name for name in names if not name.startswith("untrained_")]
    if not names:
        return []
    before = any(f"untrained_{name}" in scores for name in names)
    head = f"{'untrained':>11}{'trained':>11}" if before else f"{'percent':>11}"
    lines = ["", f"{where:30}{head}"]
    for name in names:
        values = [scores.get(f"untrained_{name}")] if before else []
        cells = ("" if value is None else f"{value:.1f}%" for value in [*values, scores[name]])
        lines.append(f"{_readable(name):30}" + "".join(f"{cell:>11}" for cell in cells))
    return lines


def _readable(name):
    """Of a score, such as "knn20_top1" or "fine_tuned_10_top5", what people call it."""
    what, _, top = name.rpartition("_top")
    if what.startswith("knn"):
        return f"kNN of {what.removeprefix('knn')}, top-{top}"
    if what.startswith("fine_tuned_"):
        return f"fine-tuned on {what.removeprefix('fine_tuned_')}%, top-{top}"
    return f"{what} probe, top-{top}"
