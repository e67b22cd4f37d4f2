"""What tells the examples of a collection apart, wherever it lies and however it is read."""

import dataclasses
import functools
import hashlib
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, Self

import numpy as np

from sogclr_tf.atomic_write import replacing
from sogclr_tf.printable import printable


class Collection(Protocol):
    """Examples with names, such as a `sogclr_tf.Source`."""

    name: str

    def example_names(self) -> "ExampleNames":
        """The names of the examples 0 ... num_examples - 1."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExampleNames:
    """The names of a collection's examples, in the order of their indices.

    As one text, because a million Python strings are large.

    Attributes:
        text: bytes, the stems of all names, one after the other.
        starts: int64 [G + 1]; stem g is text[starts[g] : starts[g + 1]].
        counts: int64 [G]: stem g is that of so many names, which end in 0, 1, 2 ...; None where
            every stem is a name.
        captions: int64 [N], how many each image has; None where texts are one each.

    Examples:
        >>> import sogclr_tf
        >>> names = sogclr_tf.ExampleNames.of(["cats/1.jpg", "cats/2.jpg"])
        >>> len(names), names[1]
        (2, 'cats/2.jpg')
        >>> names.difference(sogclr_tf.ExampleNames.of(["cats/0.jpg", "cats/1.jpg"]))
        "example 0 was 'cats/0.jpg' and is 'cats/1.jpg' now (1 new, 1 gone, 1 at another place)"
    """

    text: bytes
    starts: np.ndarray
    counts: np.ndarray | None = None
    captions: np.ndarray | None = None

    @classmethod
    def of(cls, names: Iterable[str | bytes]) -> Self:
        """Those of a list of names, str or bytes."""
        encoded = [os.fsencode(name) for name in names]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return cls(b"".join(encoded), _starts(lengths))

    @classmethod
    def numbered(cls, stems: Iterable[str | bytes], counts: Sequence[int] | np.ndarray) -> Self:
        """Names that are numbers behind stems: `counts[g]` of them behind `stems[g]`."""
        names = cls.of(stems)
        return cls(names.text, names.starts, np.asarray(counts, np.int64))

    @classmethod
    def of_digests(cls, prefix: str, digests: np.ndarray) -> Self:
        """Names that are a prefix and what was made of an example, in hexadecimal.

        Args:
            prefix: ASCII.
            digests: uint8 [N, bytes].
        """
        count, width = len(digests), 2 * digests.shape[1]
        text = np.empty([count, len(prefix) + width], np.uint8)
        text[:, : len(prefix)] = np.frombuffer(prefix.encode(), np.uint8)
        hexadecimal = np.frombuffer(digests.tobytes().hex().encode(), np.uint8)
        text[:, len(prefix) :] = hexadecimal.reshape(count, width)
        return cls(text.tobytes(), np.arange(count + 1, dtype=np.int64) * text.shape[1])

    def __len__(self) -> int:
        return len(self.starts) - 1 if self.counts is None else int(self.counts.sum())

    def __getitem__(self, index: int) -> str:
        """The name of an example, as text for a message."""
        if self.counts is None:
            return _shown(self._stem(index))
        ends = np.cumsum(self.counts)
        group = int(np.searchsorted(ends, index, side="right"))
        return _shown(self._stem(group)) + str(index - int(ends[group] - self.counts[group]))

    @functools.cached_property
    def fingerprint(self) -> int:
        """A number in [1, 2**63) that is another one for other names."""
        parts = [part for part in (self.starts, self.counts, self.captions) if part is not None]
        digest = hashlib.sha256(self.text)
        for part in parts:
            digest.update(part.astype("<i8").tobytes())
        return int.from_bytes(digest.digest()[:8], "little") >> 1 or 1

    def rows_in(self, old: "ExampleNames") -> np.ndarray:
        """Where each of these examples was in `old`, or -1 where it is new: int64 [N].

        Of a name that occurs more than once the first is the first, the second the second.
        """
        place = {key: row for row, key in enumerate(old._keys())}
        return np.array([place.get(key, -1) for key in self._keys()], np.int64)

    def caption_rows_in(self, old: "ExampleNames") -> np.ndarray:
        """Where each caption of these examples was among those of `old`, or -1: int64 [M].

        A caption is known by its image's name and its number there: further ones of an image are
        new.

        Raises:
            ValueError: an image has fewer than before, as nothing says which are gone.
        """
        counts, before = self._caption_counts(), old._caption_counts()
        image = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(len(image)) - _starts(counts)[image]
        rows = self.rows_in(old)
        fewer = np.flatnonzero((rows >= 0) & (counts < before[rows]))
        if len(fewer):
            raise ValueError(
                f"'{self[fewer[0]]}' has {counts[fewer[0]]} captions and had "
                f"{before[rows[fewer[0]]]} ({len(fewer)} such images): which are gone is not "
                "known, so put them back, or begin with a new loss"
            )
        was = rows[image]
        kept = (was >= 0) & (number < before[was])
        return np.where(kept, _starts(before)[was] + number, -1)

    def difference(self, old: "ExampleNames") -> str | None:
        """The first example that is another one than in `old`, and how many differ, as text.

        None where all are the same.
        """
        pairs = enumerate(zip(old._all(), self._all(), strict=False))
        first = next((i for i, (was, now) in pairs if was != now), min(len(old), len(self)))
        if first == len(old) == len(self):
            return self._caption_difference(old)
        if first == len(old):
            what = f"example {first}, '{self[first]}', is new"
        elif first == len(self):
            what = f"example {first}, '{old[first]}', is gone"
        else:
            what = f"example {first} was '{old[first]}' and is '{self[first]}' now"
        rows = self.rows_in(old)
        known = rows >= 0
        moved = np.count_nonzero(known & (rows != np.arange(len(rows))))
        new, gone = np.count_nonzero(~known), len(old) - np.count_nonzero(known)
        return f"{what} ({new} new, {gone} gone, {moved} at another place)"

    def save(self, path: pathlib.Path) -> None:
        """Writes a file, whole or not at all: about 3 bytes for each file of a large folder."""
        with replacing(path) as temporary:
            np.savez_compressed(
                temporary,
                text=np.frombuffer(self.text, np.uint8),
                lengths=np.diff(self.starts).astype(np.uint32),
                counts=np.zeros(0, np.int64) if self.counts is None else self.counts,
                captions=np.zeros(0, np.int64) if self.captions is None else self.captions,
            )

    @classmethod
    def load(cls, path: pathlib.Path) -> Self | None:
        """What `save` wrote; None where there is no such file, or none that can be read."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                # Files of version 0.2 know no captions.
                counts, captions = (stored.get(key, ()) for key in ("counts", "captions"))
                text, starts = stored["text"].tobytes(), _starts(stored["lengths"])
                return cls(text, starts, _if_any(counts), _if_any(captions))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _caption_counts(self) -> np.ndarray:
        return np.ones(len(self), np.int64) if self.captions is None else self.captions

    def _caption_difference(self, old: "ExampleNames") -> str | None:
        """As `difference`, of collections whose names are the same."""
        if self.captions is None and old.captions is None:
            return None
        counts, before = self._caption_counts(), old._caption_counts()
        changed = np.flatnonzero(counts != before)
        if not len(changed):
            return "images had one text each and have captions now, or the other way round"
        first = changed[0]
        return (
            f"example {first}, '{self[first]}', had {before[first]} captions and has "
            f"{counts[first]} now ({len(changed)} images have another number)"
        )

    def _stem(self, group: int) -> bytes:
        return self.text[self.starts[group] : self.starts[group + 1]]

    def stems(self) -> list[bytes]:
        """The stems; where these are whole names, the names."""
        bounds = self.starts.tolist()
        return [self.text[a:b] for a, b in zip(bounds[:-1], bounds[1:], strict=True)]

    def _all(self) -> list[bytes]:
        if self.counts is None:
            return self.stems()
        pairs = zip(self.stems(), self.counts.tolist(), strict=True)
        return [stem + b"%d" % number for stem, count in pairs for number in range(count)]

    def _keys(self) -> list[bytes | tuple[bytes, int]]:
        """The names; where one comes again, with the number of those before it."""
        names: list[bytes | tuple[bytes, int]] = [*self._all()]
        if len(set(names)) == len(names):
            return names
        seen: dict = {}
        for place, name in enumerate(names):
            before = seen.get(name, 0)
            seen[name] = before + 1
            if before:
                names[place] = (name, before)  # type: ignore[assignment]
        return names


def names_of(source: Collection) -> ExampleNames:
    """The names of a collection's examples, with how many captions each has if it has several."""
    names, offsets = source.example_names(), getattr(source, "caption_offsets", None)
    return names if offsets is None else dataclasses.replace(names, captions=np.diff(offsets))


def check_same(
    name: str, names: ExampleNames, fingerprint: int, kept: Callable[[], ExampleNames | None]
) -> None:
    """Raises ValueError unless a table belongs to the examples of a collection.

    Args:
        name: what the collection is called in messages.
        names: those of its examples.
        fingerprint: of the names of those that the table belongs to; 0 fits any.
        kept: gives these names, or None where only the fingerprint is left.
    """
    if fingerprint in (0, names.fingerprint):
        return
    old = kept()
    difference = names.difference(old) if old else "which ones, its weights alone do not say"
    if difference is not None:
        raise ValueError(
            f"the table of the loss belongs to other examples than those of {name}: "
            f"{difference}. Put them back; or carry its rows over by name, with --grow or, from "
            "Python, Checkpoints.restore(grow=views.source); or train the encoder on with a new "
            "loss"
        )


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _if_any(values: Any) -> np.ndarray | None:
    return values if len(values) else None


def _shown(name: bytes) -> str:
    return printable(os.fsdecode(name))
