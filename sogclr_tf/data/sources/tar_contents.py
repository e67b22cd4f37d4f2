"""Captions and labels in the small files of a shard's examples."""

import json
import os
import re
from typing import Any, NamedTuple

from sogclr_tf.printable import printable

_WHOLE = re.compile(r"0|[1-9][0-9]*")
_LARGEST = 2**31 - 2
_KINDS = {str: "text", int: "a number", float: "a number", bool: "a truth value", dict: "an object"}


class UnusableError(ValueError):
    """What is wrong with an example. The message begins with "its"."""


class Content(NamedTuple):
    """Where an example's caption or label lies.

    Attributes:
        suffix: of the member that holds it, without the first dot, in lower case.
        key: of the JSON object in it; None where the whole member is the value.
    """

    suffix: str
    key: str | None

    @classmethod
    def of(cls, spelled: str | None, key: str | None = None) -> "Content | None":
        """What "txt", "json" and "json/title" mean; `key` stands for the key of a bare "json"."""
        if not spelled:
            return None
        suffix, _, named = spelled.strip(".").partition("/")
        is_json = suffix.lower().rpartition(".")[2] == "json"
        if named and not is_json:
            raise ValueError(
                f"'{printable(spelled)}' names a key of a member that is no .json: give the suffix "
                "alone, such as txt"
            )
        return cls(suffix.lower(), named or (key if is_json else None))


def captions(data: bytes, content: Content) -> str | list[str]:
    """The caption in a member, or the captions where it is a list.

    Raises:
        UnusableError: there is none, it is empty or no UTF-8.
    """
    found = _value(data, content)
    what = _called(content)
    texts = found if isinstance(found, list) else [found]
    if not texts:
        raise UnusableError(f"its {what} is an empty list")
    for text in texts:
        if not isinstance(text, str):
            kind = _KINDS.get(type(text), "nothing" if text is None else "a list")
            raise UnusableError(f"its {what} is {kind}: expected text")
        if not text.strip():
            raise UnusableError(f"its {what} is empty")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnusableError(f"its {what} is no UTF-8") from None
    stripped = [text.strip() for text in texts]
    if len(set(stripped)) < len(stripped):
        raise UnusableError(f"its {what} has a text twice")
    return stripped if isinstance(found, list) else stripped[0]


def label(data: bytes, content: Content) -> int:
    """The class in a member.

    Raises:
        UnusableError: it is no whole number from 0.
    """
    found = str(_value(data, content)).strip()
    if not _WHOLE.fullmatch(found) or int(found) > _LARGEST:
        raise UnusableError(
            f"its {_called(content)} is '{printable(found[:40])}': expected a whole number from 0"
        )
    return int(found)


def _value(data: bytes, content: Content) -> Any:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise UnusableError(f"its .{content.suffix} is no UTF-8 (byte 0x{byte:02x})") from None
    if content.key is None:
        return text
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise UnusableError(f"its .{content.suffix} is no JSON") from None
    if not isinstance(found, dict) or content.key not in found:
        raise UnusableError(f"its .{content.suffix} has no '{printable(content.key)}'")
    return found[content.key]


def _called(content: Content) -> str:
    where = f".{os.fsdecode(content.suffix)}"
    return where if content.key is None else f"'{printable(content.key)}' in {where}"
