"""A field of a config that takes a number or a tuple: how large an image is."""

import abc
import ast
from typing import Any

from absl import flags
from ml_collections import FieldReference, config_flags


class _Parser(flags.ArgumentParser):
    """Of "32", "(32, 96)" and "32,96"; anything else stays text."""

    def parse(self, argument: Any) -> Any:
        try:
            return ast.literal_eval(argument) if isinstance(argument, str) else argument
        except (SyntaxError, ValueError):
            return argument


@config_flags.register_flag_parser(parser=_Parser())
class AnySize(abc.ABC):  # noqa: B024
    """The type of the field. Every value is one of it: `check_config` refuses the wrong ones.

    ml_collections gives a field one type, which a flag must have too. With `object`, its own for
    any value, a flag would be a Boolean one, which takes no value after a space.
    """

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        return True


def size_field(default: int) -> FieldReference:
    """A field for the side of a square or (height, width), with a default."""
    return FieldReference(default, field_type=AnySize)
