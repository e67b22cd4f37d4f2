"""The examples of one tar shard: members that share a key, as webdataset names them."""

import dataclasses
import re
from typing import BinaryIO, NamedTuple

import tensorflow as tf

from sogclr_tf.data.sources import image_files, tar_contents
from sogclr_tf.data.sources.tar_contents import Content, UnusableError
from sogclr_tf.data.sources.tar_headers import DamagedTarError, Member, members

# A key is the path up to the first dot of the last name, which does not begin with it.
_KEYED = re.compile(r"(?:\./)*((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)
_IMAGES = frozenset(
    suffix.decode()[1:] for suffix in (*image_files.SUFFIXES, *image_files.ARRAY_SUFFIXES)
)


class Wanted(NamedTuple):
    """Which members of an example count.

    Attributes:
        image: the suffix of the image; None for any of an image file.
        text: where captions lie, or None.
        label: where labels lie, or None.
    """

    image: str | None
    text: Content | None
    label: Content | None


@dataclasses.dataclass(slots=True)
class Example:
    """What a shard holds under one key.

    Attributes:
        key: the path without suffixes.
        offset: where the image begins; -1 where there is none.
        size: of the image in bytes.
        captions: a text, or a list of several; None where there is none that can be used.
        label: None where there is none that can be used.
        fault: why the example cannot be used.
    """

    key: str
    offset: int = -1
    size: int = 0
    captions: str | list[str] | None = None
    label: int | None = None
    fault: str | None = None


class Shard(NamedTuple):
    """The examples of a shard.

    Attributes:
        examples: those with an image, in the order of the images.
        imageless: the keys that have none.
        damage: what is wrong with the shard itself, or None.
    """

    examples: list[Example]
    imageless: list[str]
    damage: str | None


def read_shard(name: str, size: int, wanted: Wanted) -> Shard:
    """The `Shard` of a file, local or one that tf.io.gfile knows, of so many bytes.

    A tar that is cut off keeps the examples before; the last one has the damage as its fault.
    """
    found: dict[str, Example] = {}
    damage = last = None
    file = tf.io.gfile.GFile(name, "rb") if "://" in name else open(name, "rb")  # noqa: SIM115
    with file:
        try:
            for member in members(file, size):
                last = _add(found, member, file, wanted) or last
        except DamagedTarError as error:
            damage = str(error)
    if damage and last:
        last.fault = f"its shard {damage}"
    examples = [example for example in found.values() if example.offset >= 0]
    for example in examples:
        if wanted.text and example.captions is None and not example.fault:
            example.fault = f"it has no .{wanted.text.suffix}"
    examples.sort(key=lambda example: example.offset)
    return Shard(examples, [key for key, e in found.items() if e.offset < 0], damage)


def _add(
    found: dict[str, Example], member: Member, file: BinaryIO, wanted: Wanted
) -> Example | None:
    """Notes a member with the example of its key; None of what belongs to none."""
    keyed = _KEYED.fullmatch(member.name)
    if keyed is None:
        return None
    key, suffix = keyed[1], keyed[2].lower()
    is_image = suffix == wanted.image if wanted.image else suffix in _IMAGES
    contents = [content for content in wanted[1:] if content and content.suffix == suffix]
    if not is_image and not contents:
        return None
    example = found.setdefault(key, Example(key))
    if is_image:
        if example.offset >= 0:
            example.fault = f"it has two images, the second .{suffix}"
        example.offset, example.size = member.offset, member.size
    for content in contents:
        file.seek(member.offset)
        try:
            _take(example, file.read(member.size), content, wanted)
        except UnusableError as error:
            example.fault = str(error)
    return example


def _take(example: Example, data: bytes, content: Content, wanted: Wanted) -> None:
    if content == wanted.text:
        if example.captions is not None:
            raise UnusableError(f"it has two .{content.suffix}")
        example.captions = tar_contents.captions(data, content)
    if content == wanted.label:
        if example.label is not None:
            raise UnusableError(f"it has two .{content.suffix}")
        example.label = tar_contents.label(data, content)
