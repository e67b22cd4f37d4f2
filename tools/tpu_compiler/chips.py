"""What Google's documentation says of TPUs, by the name that a topology begins with."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device of a topology: a chip, or one of the two cores of a chip (v2, v3, v4).

    Attributes:
        hbm: bytes of memory.
        peak: floating point operations a second, in bfloat16.
        source: the page.
    """

    hbm: int
    peak: float
    source: str


_PAGE = "https://docs.cloud.google.com/tpu/docs"
_GB = 2**30
CHIPS = {
    "v2": Chip(8 * _GB, 22.5e12, f"{_PAGE}/v2"),
    "v3": Chip(16 * _GB, 61.5e12, f"{_PAGE}/v3"),
    "v4": Chip(16 * _GB, 137.5e12, f"{_PAGE}/v4"),
    "v5e": Chip(16 * _GB, 197e12, f"{_PAGE}/v5e"),
    "v5p": Chip(95 * _GB, 459e12, f"{_PAGE}/v5p"),
    "v6e": Chip(32 * _GB, 918e12, f"{_PAGE}/v6e"),
}


def chip_of(topology: str) -> Chip:
    """The chip of a topology such as "v5e:2x4".

    Raises:
        ValueError: its name is not one of `CHIPS`.
    """
    name = topology.partition(":")[0]
    if name not in CHIPS:
        raise ValueError(
            f"topology '{topology}' names no chip that is known here: choose one of "
            f"{', '.join(CHIPS)}, as in v5e:2x4"
        )
    return CHIPS[name]
