"""Tables of what the compiler said, in Markdown."""

import re
from typing import Any

from tpu_compiler.chips import chip_of
from tpu_compiler.figures import steps_per_second


def tables(results: list[dict[str, Any]], utilization: float) -> str:
    """All that is to be read: a row for each program, what the first exchanges, what fits."""
    parts = [summary(results, utilization)]
    trained = [one for one in results if "messages" in one and one["step"] == "train"]
    if trained and _chunks(trained[0]) == 1:
        found = trained[0]
        what = f"What a step of {found['batch']:,} exchanges on {found['cores']:,} cores"
        parts.append(f"{what} ({found['topology']}), by core:\n\n{exchanges(found)}")
    several = {found["batch"] for found in results}
    if len(several) > 1:
        parts.append(largest_that_fits(results))
    return "\n\n".join(parts)


def summary(results: list[dict[str, Any]], utilization: float) -> str:
    """One row for each program that was compiled, with where the estimate is from."""
    head = (
        "| topology | batch | compiled | arguments | temporaries | code | total | HBM "
        "| updated in place | tables copied | TFLOP | steps/s, estimated |"
    )
    lines = [head, "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    lines += [_row(found, utilization) for found in results]
    sources = sorted({chip_of(found["topology"]).source for found in results})
    lines += [
        "",
        "All of one core, in 2**20 and 2**30 bytes. The estimate is the chip's peak in bfloat16 at "
        f"a utilization of {utilization:.0%}, over the compiler's count of operations; HBM and "
        f"peak are of {', '.join(f'<{source}>' for source in sources)}.",
    ]
    if any("unreadable" in found for found in results):
        lines[-1] += (
            " Of a program that jaxlib cannot read, because libtpu is newer, the memory alone is "
            "known: the bytes of what is updated in place."
        )
    if any(_chunks(found) > 1 for found in results):
        lines[-1] += (
            " Of a batch in chunks the operations are left out, as the compiler counts those of a "
            "loop once."
        )
    return "\n".join(lines)


def _chunks(found):
    return found["config"]["chunks"]


def _row(found, utilization):
    in_chunks = f"in {_chunks(found)} chunks " if _chunks(found) > 1 else ""
    start = f"| {found['topology']} | {found['batch']:,} {in_chunks}"
    if "error" in found:
        return f"{start}| no: {short(found['error'])} | | | | | {megabytes(found['hbm'])} | | | | |"
    memory = found["memory"]
    cells = [
        f"in {found['seconds']:.0f} s",
        *(megabytes(memory[name]) for name in ("arguments", "temporaries", "code", "total")),
        megabytes(found["hbm"]),
    ]
    if "unreadable" in found:
        aliased, outputs = (megabytes(memory[name]) for name in ("aliased", "outputs"))
        cells += [f"{aliased} of {outputs}", "", "", ""]
    else:
        state = found["state"]
        cells += [f"{state['in_place']} of {state['updated']}", str(state["table_copies"])]
        cells += _speed(found, utilization)
    return f"{start}| {' | '.join(cells)} |"


def _speed(found, utilization):
    """The cells of the operations and of the steps in a second."""
    if _chunks(found) > 1:
        return ["", ""]
    # Two digits of an estimate, however large.
    estimate = float(f"{steps_per_second(found, utilization):.2g}")
    return [f"{found['flops'] / 1e12:.3g}", f"{estimate:,g}"]


def exchanges(found: dict[str, Any]) -> str:
    """What crosses cores in a step: needed, lowered, and what the compiler made of it."""
    needed, lowered = found["needed_exchanges"], found["lowered_exchanges"]
    lines = ["| exchange | the method needs | lowered | in messages |", "|---|---|---|---|"]
    for kind in sorted({*needed, *lowered}):
        one = lowered.get(kind, {"bytes": 0, "messages": 0})
        lines.append(
            f"| {kind.replace('_', ' ')} | {needed.get(kind, 0):,} B | {one['bytes']:,} B "
            f"| {one['messages']} |"
        )
    if "messages" in found:
        sent = found["messages"]
        lines.append(
            f"| all, compiled | {sum(needed.values()):,} B | {sent['bytes']:,} B "
            f"| {sent['count']}, the largest of {sent['largest']:,} B |"
        )
    return "\n".join(lines)


def largest_that_fits(results: list[dict[str, Any]]) -> str:
    """A line for each topology: the largest batch that compiles within the chip's memory."""
    lines: list[str] = []
    for topology in dict.fromkeys(found["topology"] for found in results):
        batches = [found["batch"] for found in results if found["topology"] == topology]
        fit = [one["batch"] for one in results if one["topology"] == topology and fits(one)]
        lines.append(
            f"{topology}: the largest global batch that fits, of "
            f"{', '.join(map(str, batches))}: {max(fit) if fit else 'none'}"
        )
    # A paragraph each, where Markdown would join the lines.
    return "\n\n".join(lines)


def fits(found: dict[str, Any]) -> bool:
    """Whether a program compiled, and needs no more memory than the chip has."""
    return "error" not in found and found["memory"]["total"] <= found["hbm"]


def short(error: str) -> str:
    """The compiler's first words, without a path or a bar that would break the table."""
    line = " ".join(error.split()).replace("|", "/")
    needed = re.search(r"total memory required.*?exceeds available HBM \([\w.]+\)", line)
    return needed[0] if needed else line[:120]


def megabytes(size: int) -> str:
    """Bytes as MB (2**20), or GB (2**30) from 10,000 MB on."""
    mib = size / 2**20
    if mib >= 10_000:
        return f"{mib / 1024:.1f} GB"
    return f"{mib:,.0f} MB" if mib >= 10 else f"{mib:.2f} MB"
