"""What the text of an HLO program says of its exchanges and its memory."""

import collections
import dataclasses
import math
import re

# In a layout: not in HBM.
_ON_CHIP = "S(1)"
_BITS = {"pred": 8, "bf16": 16}
_EXCHANGES = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
# `%name = SHAPE opcode(operands), ...`; what a -done gives back was counted at its -start.
_INSTRUCTION = re.compile(rf"= (?P<shape>.+?) (?P<opcode>{_EXCHANGES})(?:-start)?\((?P<rest>.*)")
_ARRAY = re.compile(r"\b(pred|bf16|[fsu]\d+)\[([\d,]*)\]")


@dataclasses.dataclass(frozen=True)
class Exchange:
    """One message between cores.

    Attributes:
        opcode: such as "all-reduce".
        kind: as `core.CoreContext` names it, or "other".
        arrays: how many it carries.
        bytes: what one core contributes.
    """

    opcode: str
    kind: str
    arrays: int
    bytes: int


def exchanges(text: str) -> list[Exchange]:
    """Every exchange in the text of a program, in its order."""
    found = []
    for line in text.splitlines():
        match = _INSTRUCTION.search(line)
        if match is None:
            continue
        arrays = _ARRAY.findall(match["shape"])
        kind = re.search(r"exchange_([a-z_]+)", match["rest"])
        # TensorFlow numbers scopes of the same name.
        name = kind[1].rstrip("_") if kind else "other"
        size = sum(_bytes(*array) for array in arrays)
        found.append(Exchange(match["opcode"], name, len(arrays), size))
    return found


def by_kind(found: list[Exchange]) -> dict[str, dict[str, int]]:
    """{kind: {"messages": how many, "arrays": in them, "bytes": of all}}."""
    kinds: dict = collections.defaultdict(lambda: {"messages": 0, "arrays": 0, "bytes": 0})
    for one in found:
        kinds[one.kind]["messages"] += 1
        kinds[one.kind]["arrays"] += one.arrays
        kinds[one.kind]["bytes"] += one.bytes
    return dict(sorted(kinds.items()))


def aliases(text: str) -> dict[int, int]:
    """{output: parameter} of the outputs that are written in a parameter's place."""
    header = text.partition("\n")[0]
    pairs = re.findall(r"\{(\d+)\}: \((\d+), \{\}, (?:may|must)-alias\)", header)
    return {int(output): int(parameter) for output, parameter in pairs}


def copies(text: str, shape: tuple[int, ...], dtype: str = "f32") -> int:
    """How many instructions of the program copy an array of this shape whole, within HBM.

    What the compiler moves to the chip's own memory and back, because it is small enough, does not
    count.
    """
    array = re.escape(f"{dtype}[{','.join(map(str, shape))}]")
    # A copy-start gives back a tuple: what it writes, what it reads, and a mark.
    found = re.findall(rf"= (\(?{array}(?:\S*|.*\))) copy(?:-start)?\(", text)
    return len([layouts for layouts in found if _ON_CHIP not in layouts])


def _bytes(dtype, dimensions):
    bits = _BITS.get(dtype) or int(re.sub(r"\D", "", dtype))
    return bits // 8 * math.prod(int(size) for size in dimensions.split(",") if size)
