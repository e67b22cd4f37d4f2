"""The dotted keys of a nested config."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict


def flat(config: Mapping | ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in a nested config."""
    values = config.to_dict() if isinstance(config, ConfigDict) else config
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def flat_keys(config: Mapping | ConfigDict) -> list[str]:
    """The dotted keys of a nested config."""
    return [key for key, _ in flat(config)]


def valid_keys(key: str, expected: Iterable[str]) -> str:
    """Advice: the keys beside `key`, or all where its section is unknown too."""
    section = key.rpartition(".")[0]
    siblings = [name for name in sorted(expected) if name.rpartition(".")[0] == section]
    return f"choose one of {', '.join(siblings or sorted(expected))}"
