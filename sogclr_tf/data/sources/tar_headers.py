"""Which members a tar has and where their bytes lie, by its headers alone."""

import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_BLOCK = 512
# Tars are padded with zeros to at most so many bytes.
_PADDING = 1 << 20
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")


class DamagedTarError(ValueError):
    """A tar does not go on, or not end, as one does. The message begins "is"."""


class Member(NamedTuple):
    """A file in a tar.

    Attributes:
        name: with the folders, as it is stored.
        offset: where its bytes begin.
        size: how many they are.
    """

    name: str
    offset: int
    size: int


def members(file: BinaryIO, size: int) -> Iterator[Member]:
    """The regular files of a tar, in order; what lies in them is passed over.

    Long names of GNU's and of the pax format and prefixes of ustar are understood. Of a tar that is
    cut off all come whose headers are there, the last perhaps without all of its bytes. The file
    may be read and moved in between.

    Args:
        file: open for reading, at its start, and able to seek.
        size: of the file in bytes.

    Raises:
        DamagedTarError: at the end, or where it does not go on.
    """
    try:
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - the file is not ours to close
        while (info := tar.next()) is not None:
            # It keeps all that it met.
            tar.members = []  # type: ignore[attr-defined]
            if info.isreg() and info.sparse is not None:
                raise DamagedTarError("is a tar with sparse files: write it without --sparse")
            if info.isreg():
                yield Member(info.name, info.offset_data, info.size)
    except tarfile.TarError:
        file.seek(0)
        if file.read(8).startswith(_COMPRESSED):
            raise DamagedTarError(
                "is compressed, so that no member can be read by itself: unpack it to a .tar"
            ) from None
        raise DamagedTarError(
            f"is no whole tar: it is cut off or damaged ({size:,} bytes)"
        ) from None
    _check_end(file, tar.offset, size)


def _check_end(file: BinaryIO, end: int, size: int) -> None:
    """Where the last member ends zeros must follow, and nothing else."""
    file.seek(end)
    rest = file.read(_PADDING)
    if len(rest) < _BLOCK:
        raise DamagedTarError(
            f"is cut off: it ends at byte {size:,}, without the zeros at the end of a tar"
        )
    if any(rest[:_BLOCK]):
        raise DamagedTarError(f"is damaged: what stands at byte {end:,} is no header")
    if rest.strip(b"\0"):
        raise DamagedTarError(
            f"goes on behind its end at byte {end:,}, as tars do that were joined: give each alone"
        )
