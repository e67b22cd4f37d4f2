"""The folder of a run: what each file is called, and how it is written whole."""

import csv
import io
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from sogclr_tf.atomic_write import replacing
from sogclr_tf.evaluation.measured_normalizer import MeasuredNormalizer
from sogclr_tf.models.linear_probe import LinearProbe
from sogclr_tf.printable import check_printable, printable


class RunFolder:
    """The files of one run.

    Attributes:
        path: pathlib.Path of the folder; made where missing.
        lock: `run.lock`, while a process writes into the folder.
        checkpoints, events, plots, saved_model: folders inside it.
        metrics: `metrics.csv`, a row per epoch.
        result: `result.json`, the closing numbers.
        skipped: `skipped.txt`, the examples that could not be used.
        report: `report.html`, the page that shows all of it.
        linear_probe: `linear_probe.npz`, the linear probe of the last evaluation.
        normalizer: `normalizer.npz`, the last measurement of the loss's table.
        keras_file: `encoder.keras`, the encoder of the last export.
        tflite_file: `encoder.tflite`, the same, converted.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        check_printable(str(path), "the folder of a run", "give another --workdir")
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock = self.path / "run.lock"
        self.checkpoints = self.path / "checkpoints"
        self.events = self.path / "events"
        self.plots = self.path / "plots"
        self.saved_model = self.path / "saved_model"
        self.metrics = self.path / "metrics.csv"
        self.result = self.path / "result.json"
        self.skipped = self.path / "skipped.txt"
        self.report = self.path / "report.html"
        self.linear_probe = self.path / "linear_probe.npz"
        self.normalizer = self.path / "normalizer.npz"
        self.keras_file = self.path / "encoder.keras"
        self.tflite_file = self.path / "encoder.tflite"
        self._config = self.path / "config.json"

    def stored_config(self) -> dict | None:
        """The config of the run that lives here, as a dictionary; None where there is none."""
        return json.loads(self._config.read_text()) if self._config.exists() else None

    def claim(
        self,
        config: dict,
        is_free: Callable[[str], bool] = lambda _: False,
        write: bool = True,
        defaults: dict | None = None,
    ) -> None:
        """Stores the config, or checks that the run which lives here has the same.

        Args:
            config: dictionary that JSON can hold, nested.
            is_free: whether a dotted key may differ, because it does not shape the training.
            write: False checks alone.
            defaults: what a key means that a config lacks, as one from before there was such a
                key.

        Raises:
            ValueError: another run lives here; names the first key that differs.
        """
        defaults = json.loads(json.dumps(defaults or {}))
        config = _filled(json.loads(json.dumps(config)), defaults)
        stored = self.stored_config()
        if stored is not None:
            stored = _filled(stored, defaults)
            for key, (here, there) in _differences(stored, config).items():
                if not is_free(key):
                    raise ValueError(
                        f"{self.path} holds a run with {key}={here}, but this one has {there}: "
                        "choose another --workdir, or the same config"
                    )
        if write:
            write_json(self._config, config)

    def rewind_metrics(self, epoch: int) -> None:
        """Drops rows of `metrics.csv` from `epoch` on, which a resumed run writes again."""
        if not self.metrics.exists():
            return
        header, *rows = self.metrics.read_text().splitlines(keepends=True)
        column = header.strip().split(",").index("epoch")
        kept = [row for row in rows if int(row.split(",")[column]) < epoch]
        if kept:
            _write_whole(self.metrics, "".join([header, *kept]))
        else:
            self.metrics.unlink()

    def read_result(self) -> dict:
        """`result.json` as a dictionary; empty where there is none yet."""
        return json.loads(self.result.read_text()) if self.result.exists() else {}

    def update_result(self, **values: Any) -> None:
        """Sets values of `result.json`; the others stay."""
        write_json(self.result, {**self.read_result(), **values})

    def list_skipped(self, *sources: Any) -> None:
        """Writes `skipped.txt`: index, file and reason of every example that is left out."""
        lines = [
            f"{index}\t{printable(source.locate(index))}\t{printable(why)}\n"
            for source in sources
            for index, why in source.skipped.items()
        ]
        if lines:
            _write_whole(self.skipped, "".join(lines))
            self.update_result(skipped=len(lines))

    def keep_probe(self, probe: LinearProbe, class_names: list[str] | None, encoder: str) -> None:
        """Writes `linear_probe.npz`: a `LinearProbe`, its classes and whose features it is for."""
        _write_whole(self.linear_probe, probe.to_bytes(class_names, encoder))

    def probe_of(self, encoder: str) -> tuple[LinearProbe, list[str] | None] | None:
        """(`LinearProbe`, class names or None) of an encoder, or None where there is none."""
        if not self.linear_probe.exists():
            return None
        probe, class_names, owner = LinearProbe.from_file(self.linear_probe)
        return (probe, class_names) if owner == encoder else None

    def keep_normalizer(self, measured: MeasuredNormalizer) -> None:
        """Writes `normalizer.npz`."""
        _write_whole(self.normalizer, measured.to_bytes())

    def measured_normalizer(self) -> MeasuredNormalizer | None:
        """What `keep_normalizer` wrote last; None where nothing was measured."""
        exists = self.normalizer.exists()
        return MeasuredNormalizer.from_file(self.normalizer) if exists else None

    def plot(self, name: str) -> pathlib.Path:
        """The path of a picture."""
        self.plots.mkdir(exist_ok=True)
        return self.plots / name

    def files(self) -> list[tuple[str, pathlib.Path]]:
        """[(what, path)] of what the run has left, for people."""
        parts = {
            "report": self.report,
            "numbers": self.result,
            "metrics": self.metrics,
            "pictures": self.plots,
            "encoder": self.saved_model,
            "for Keras": self.keras_file,
            "for TFLite": self.tflite_file,
            "checkpoints": self.checkpoints,
            "events": self.events,
        }
        return [(what, path) for what, path in parts.items() if path.exists()]

    def append_metrics(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """Adds an epoch's row to `metrics.csv`, with a header where it is new."""
        rows = [*self._rows(), {"epoch": epoch, **logs}]
        # What is measured every few epochs has a column from its first value on.
        columns = dict.fromkeys(name for row in rows for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        _write_whole(self.metrics, text.getvalue())

    def history(self) -> dict[str, list[float]]:
        """`metrics.csv` as {column: list of floats}; empty where nothing was trained.

        NaN stands where a column has no value in an epoch, as of what is measured every few.
        """
        rows = self._rows()
        columns = rows[0] if rows else ()
        return {name: [float(row[name] or "nan") for row in rows] for name in columns}

    def _rows(self) -> list[dict[str, Any]]:
        if not self.metrics.exists():
            return []
        with self.metrics.open(newline="") as file:
            return list(csv.DictReader(file))


def write_json(path: pathlib.Path, values: dict) -> None:
    """Writes a dictionary as readable JSON; the file is the old one or the new one, never half."""
    _write_whole(path, json.dumps(values, indent=2) + "\n")


def _write_whole(path: pathlib.Path, content: str | bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def _filled(config: dict, defaults: dict) -> dict:
    """A nested dictionary with those keys of another that it lacks."""
    both = {
        key: _filled(config[key], value) if isinstance(value, dict) else config[key]
        for key, value in defaults.items()
        if key in config
    }
    return {**defaults, **config, **both}


def _differences(old: dict, new: dict, prefix: str = "") -> dict[str, tuple]:
    """{dotted key: (old, new)} of two nested dictionaries."""
    found = {}
    for key in sorted({*old, *new}):
        ours, theirs = old.get(key), new.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            found.update(_differences(ours, theirs, f"{prefix}{key}."))
        elif ours != theirs:
            found[f"{prefix}{key}"] = (ours, theirs)
    return found
