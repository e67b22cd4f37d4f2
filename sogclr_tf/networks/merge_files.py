"""Lists of merges as files have them: two pieces a line, whose bytes are written as letters."""

import gzip
import zlib
from collections.abc import Sequence

import tensorflow as tf

from sogclr_tf.networks.byte_pairs import BYTES, FIRST_MERGED

END_OF_WORD = "</w>"
# GPT-2's order of the 256 bytes: those that Latin-1 can print, then the others.
_PRINTED = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
BYTE_ORDER = [*_PRINTED, *sorted(set(range(BYTES)) - set(_PRINTED))]


def _letters():
    """What stands for the bytes, in their order; characters from 256 on for those not printed."""
    others = range(BYTES, 2 * BYTES - len(_PRINTED))
    return [chr(code) for code in (*_PRINTED, *others)]


def byte_pieces() -> list[str]:
    """The pieces of the tokens that no merge makes."""
    return [*_letters(), *(letter + END_OF_WORD for letter in _letters())]


def numbered(merges: Sequence[Sequence[str]], source: str) -> list[list[int]]:
    """[[token, token]] of merges as lists of pieces; `source` names them in an error.

    Raises:
        ValueError: a merge has not two pieces, or one that is not there yet.
    """
    tokens = {piece: token for token, piece in enumerate(byte_pieces())}
    pairs = []
    for number, merge in enumerate(merges):
        if len(merge) != 2 or not all(piece in tokens for piece in merge):
            raise ValueError(
                f"{source}: merge {number} is {' '.join(merge)!r}: expected two pieces, each a "
                "byte or made by a merge before it, with a space between"
            )
        pairs.append([tokens[piece] for piece in merge])
        tokens.setdefault("".join(merge), FIRST_MERGED + number)
    return pairs


def read_merges(path: str) -> list[str]:
    """The lines of a file, plain or gzipped, that are merges.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it is no text in UTF-8.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content = file.read()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        lines = content.decode().rstrip().split("\n")
    except tf.errors.NotFoundError:
        raise FileNotFoundError(f"{path} does not exist: give a file of merges") from None
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be read ({error.message}): give a file of merges") from None
    except (gzip.BadGzipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no file of merges: {error}") from None
    return [line.rstrip("\r") for line in lines[1 if "#version" in lines[0] else 0 :]]
