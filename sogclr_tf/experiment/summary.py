"""What a run says in a terminal when it is done."""

import re

from sogclr_tf.experiment.folder import RunFolder
from sogclr_tf.printable import printable

# The numbers of nearest others of which the recall is shown.
RECALLS = (1, 5, 10)


def closing_table(folder: RunFolder) -> str:
    """The numbers of a run and where its files lie, as text for a terminal."""
    result = folder.read_result()
    lines = ["", f"run        {folder.path}"]
    if "steps" in result:
        lines.append(
            f"trained    {result['steps']:,} steps over {result['num_examples']:,} examples, "
            f"{result['examples_per_second']:,.0f} examples/s"
        )
    if "started_from" in result:
        lines.append(f"started    from the weights of {printable(result['started_from'])}")
    lines += _score_lines(result)
    for name, scores in result.get("transfer", {}).items():
        lines += _score_lines(scores, f"on {printable(name)}")
    if result.get("skipped"):
        lines.append(
            f"skipped    {result['skipped']:,} examples that cannot be used: {folder.skipped}"
        )
    recalls = _recall_lines(result)
    lines += ["", *recalls] if recalls else []
    lines.append("")
    lines += [f"{what:12} {path}" for what, path in folder.files()]
    return "\n".join(lines) + "\n"


def _score_lines(scores: dict, where: str = "on frozen features") -> list[str]:
    """The accuracies of an encoder, untrained beside trained where both are known."""
    names = [name for name in scores if re.search(r"_top[15]$", name)]
    # Classes by their names have a line of their own.
    names = [name for name in names if not name.startswith(("untrained_", "zero_shot_"))]
    if not names:
        return []
    before = any(f"untrained_{name}" in scores for name in names)
    head = f"{'untrained':>11}{'trained':>11}" if before else f"{'accuracy':>11}"
    lines = ["", f"{where:30}{head}"]
    for name in names:
        values = [scores.get(f"untrained_{name}")] if before else []
        cells = ("" if value is None else f"{value:.1%}" for value in [*values, scores[name]])
        lines.append(f"{_readable(name):30}" + "".join(f"{cell:>11}" for cell in cells))
    return lines


def _readable(name: str) -> str:
    """Of a score, such as "knn20_top1" or "fine_tuned_10_top5", what people call it."""
    what, _, top = name.rpartition("_top")
    if what.startswith("knn"):
        return f"kNN of {what.removeprefix('knn')}, top-{top}"
    if what.startswith("fine_tuned_"):
        return f"fine-tuned on {what.removeprefix('fine_tuned_')}%, top-{top}"
    return f"{what} probe, top-{top}"


def _recall_lines(result: dict) -> list[str]:
    """The recall of images and texts; none where it was not measured."""
    if "test_pairs" not in result:
        return []
    pairs = result["test_pairs"]
    heads = "".join(f"{f'@{k}':>9}" for k in RECALLS)
    lines = [f"{f'recall on {pairs} test pairs':28}{heads}"]
    for name, way in (("image to text", "image_to_text"), ("text to image", "text_to_image")):
        values = "".join(f"{result[f'{way}_recall{k}']:>9.1%}" for k in RECALLS)
        lines.append(f"{name:28}{values}")
    # An image with several texts finds one of them by chance the more often.
    images, chance = result.get("test_images"), "by chance"
    chance += " (text to image)" if images else ""
    lines.append(f"{chance:28}" + "".join(f"{k / (images or pairs):>9.1%}" for k in RECALLS))
    if "zero_shot_top1" in result:
        lines += [
            "",
            f"zero-shot top-1 by the classes' names {result['zero_shot_top1']:.1%} "
            f"(always the largest class {result['largest_class']:.1%})",
        ]
    return lines
