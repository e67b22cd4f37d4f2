"""Where the examples of tar shards lie, remembered between starts."""

import concurrent.futures
import dataclasses
import json
import logging
import time
from collections.abc import Iterable

import numpy as np

from sogclr_tf.data.sources import file_cache, tfrecord_count
from sogclr_tf.data.sources.tar_shard import Example, Shard, Wanted, read_shard
from sogclr_tf.printable import printable

_LOG = logging.getLogger("sogclr_tf")
# Another number for other rules, so that indices that were made by former ones are made anew.
_RULES = 1
# Remote shards whose headers are read at a time; a local one keeps Python itself busy.
_THREADS = 16
# A file that changed so many nanoseconds ago may change again without a new time.
_SETTLED = 2 * 10**9


@dataclasses.dataclass(frozen=True)
class TarIndex:
    """The examples of all shards, in the order of the shards and of the images in each.

    Attributes:
        state: int64 [shards, 2], size and time of change of each file.
        counts: int64 [shards], how many examples each has.
        offsets, sizes: int64 [N], of the images in their shards.
        keys: bytes, all keys one after the other, and `key_starts` int64 [N + 1].
        texts: bytes, all captions, and `text_starts` int64 [captions + 1]; an example that cannot
            be used has an empty one.
        text_counts: int32 [N], where an example may have several; else empty.
        labels: int32 [N], -1 for those that have none.
        notes: {"rules", "faults": {index: why}, "imageless": [count, the first]}, as JSON.
    """

    state: np.ndarray
    counts: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    keys: np.ndarray
    key_starts: np.ndarray
    texts: np.ndarray
    text_starts: np.ndarray
    text_counts: np.ndarray
    labels: np.ndarray
    notes: np.ndarray

    @property
    def faults(self) -> dict[int, str]:
        """{index: why} of the examples that cannot be used."""
        found = json.loads(self.notes.tobytes())["faults"]
        return {int(index): why for index, why in found.items()}

    @property
    def imageless(self) -> tuple[int, str]:
        """(how many keys have no image, the first of them)."""
        count, first = json.loads(self.notes.tobytes())["imageless"]
        return count, first


def index_of(names: list[str], wanted: Wanted, called: str) -> TarIndex:
    """The `TarIndex` of shards; from its manifest where no shard has changed since.

    The first time the headers are read, and the small members that hold captions and labels: of a
    local tar nothing else, a remote one is read through.

    Args:
        names: of the files.
        wanted: which members count.
        called: what to call the shards in messages.

    Raises:
        ValueError: a shard is damaged before its first example is whole.
    """
    place = "\n".join([str(wanted), *names])
    state = tfrecord_count.state(names)
    stored = file_cache.load("tar", place)
    if stored is not None and np.array_equal(stored["state"], state):
        found = TarIndex(**stored)
        if json.loads(found.notes.tobytes())["rules"] == _RULES:
            return found
    _LOG.info("reading the headers of %d tar files of %s once", len(names), called)
    threads = _THREADS if "://" in names[0] else 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        sizes = state[:, 0].tolist()
        shards = pool.map(lambda name, size: read_shard(name, size, wanted), names, sizes)
        found = _joined(state, _checked(shards, names), wanted)
    if state[:, 1].max() < time.time_ns() - _SETTLED:
        file_cache.save("tar", place, **vars(found))
    return found


def _checked(shards: Iterable[Shard], names: list[str]) -> Iterable[Shard]:
    for shard, name in zip(shards, names, strict=True):
        if shard.damage and not shard.examples:
            raise ValueError(
                f"{printable(name)} {shard.damage}. No example in it is whole: write or copy it "
                "again, or leave it out of the pattern"
            )
        yield shard


def _joined(state: np.ndarray, shards: Iterable[Shard], wanted: Wanted) -> TarIndex:
    """The index of shards that are let go of one by one."""
    parts = []
    faults: dict[int, str] = {}
    imageless: list[str] = []
    count, missing = 0, 0
    for shard in shards:
        parts.append(_arrays(shard.examples, bool(wanted.text)))
        faults |= {count + k: e.fault for k, e in enumerate(shard.examples) if e.fault}
        count += len(shard.examples)
        missing += len(shard.imageless)
        imageless = imageless or shard.imageless[:1]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if joined["labels"].max(initial=-1) >= 0:
        for index in np.flatnonzero(joined["labels"] < 0).tolist():
            faults.setdefault(index, f"it has no .{wanted.label.suffix}")  # type: ignore[union-attr]
    if not any(part["several"].any() for part in parts):
        joined["text_counts"] = np.zeros(0, np.int32)
    notes = {"rules": _RULES, "faults": faults, "imageless": [missing, *(imageless or [""])]}
    return TarIndex(
        state=state,
        counts=np.array([len(part["offsets"]) for part in parts], np.int64),
        offsets=joined["offsets"],
        sizes=joined["sizes"],
        keys=joined["keys"],
        key_starts=_starts(joined["key_lengths"]),
        texts=joined["texts"],
        text_starts=_starts(joined["text_lengths"]),
        text_counts=joined["text_counts"],
        labels=joined["labels"],
        notes=np.frombuffer(json.dumps(notes).encode(errors="surrogateescape"), np.uint8),
    )


def _arrays(examples: list[Example], has_text: bool) -> dict[str, np.ndarray]:
    """The examples of a shard as arrays, because a million Python objects are large."""
    keys = [example.key.encode(errors="surrogateescape") for example in examples]
    captions = [
        example.captions if isinstance(example.captions, list) else [example.captions or ""]
        for example in (examples if has_text else [])
    ]
    texts = [text.encode() for of_one in captions for text in of_one]
    several = [isinstance(example.captions, list) for example in examples]
    return {
        "offsets": np.array([example.offset for example in examples], np.int64),
        "sizes": np.array([example.size for example in examples], np.int64),
        "keys": np.frombuffer(b"".join(keys), np.uint8),
        "key_lengths": np.array([len(key) for key in keys], np.int64),
        "texts": np.frombuffer(b"".join(texts), np.uint8),
        "text_lengths": np.array([len(text) for text in texts], np.int64),
        "text_counts": np.array([len(of_one) for of_one in captions], np.int32),
        "several": np.array(several, bool),
        "labels": np.array([-1 if e.label is None else e.label for e in examples], np.int32),
    }


def _starts(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
