"""What is shown of a training while it goes on."""

import math
import sys
import time
from typing import Any

import keras
import numpy as np

# What there is room for; the logs hold the rest.
_SHOWN = (
    *("loss", "accuracy", "contrast_accuracy", "probe_accuracy", "knn_top1", "probe_top1"),
    *("image_to_text_recall1", "text_to_image_recall1", "zero_shot_top1"),
)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Progress(keras.callbacks.ProgbarLogger):
    """Keras's progress bar with what is short and telling, or a line per epoch for a log.

    Both have an estimate of the time left, from the steps of this fit alone and without the first
    of them, which waits for the graph to be made.
    """

    # Keras's, from `set_params` on.
    epochs: int
    target: int | None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        self._first_done: float | None = None
        self._steps = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch_began, self._last_batch = time.perf_counter(), -1
        # Of a single epoch Keras writes no headline.
        epochs, self.epochs = self.epochs, 1
        super().on_epoch_begin(epoch, logs)
        self.epochs = epochs
        if self.verbose == 1 and epochs > 1:
            headline = (f"Epoch {epoch + 1}/{epochs}", self._time_left(epoch))
            _write(", ".join(filter(None, headline)) + "\n")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_train_batch_end(batch, _shown(logs))
        # An epoch that is resumed begins with batches that are passed over, without a loss.
        if "loss" in (logs or {}):
            if self._first_done is None:
                self._first_done = time.perf_counter()
            else:
                self._steps += batch - self._last_batch
        self._last_batch = batch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.target is None:
            self.target = self._last_batch + 1
        if self.verbose == 2:
            _write(self._line(epoch, logs or {}))
        else:
            super().on_epoch_end(epoch, _shown(logs))

    def _line(self, epoch: int, logs: dict[str, Any]) -> str:
        """An epoch as a line of text."""
        name = f"Epoch {epoch + 1}/{self.epochs}" if self.epochs > 1 else f"{self.target:,} steps"
        numbers = {key: value for key, value in _shown(logs).items() if key != "examples/s"}
        if "learning_rate" in logs:
            numbers["learning_rate"] = logs["learning_rate"]
        parts = [name, *(f"{key} {readable(value):7}" for key, value in numbers.items())]
        if "examples_per_second" in logs:
            parts.append(f"{logs['examples_per_second']:,.0f} examples/s")
        parts.append(duration(time.perf_counter() - self._epoch_began))
        parts.append(self._time_left(epoch + 1))
        return "  ".join(filter(None, parts)) + "\n"

    def _time_left(self, epochs_done: int) -> str:
        """The estimate in words; empty where there is nothing to go by, or nothing left."""
        remaining = (self.epochs - epochs_done) * (self.target or 0)
        if not (remaining and self._steps and self._first_done):
            return ""
        seconds = (time.perf_counter() - self._first_done) / self._steps * remaining
        return f"about {duration(seconds)} left"


def readable(value: Any) -> str:
    """A number without an exponent: three decimals, or three digits of what is below 0.1.

    0.7654 -> 0.765, -0.0779 -> -0.0779, 0.000012 -> 0.000012, 12345.6 -> 12,346
    """
    value = float(np.mean(value))
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if value == 0:
        return "0"
    if abs(value) >= 0.1:
        return f"{value:.3f}"
    return np.format_float_positional(value, 3, unique=False, fractional=False, trim="-")


def duration(seconds: float) -> str:
    """A time in the unit that suits it: 40 s, 12 min, 5.3 h, 2.1 days."""
    if seconds < 1.5 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.1f} h"
    return f"{seconds / _DAY:.1f} days"


def _shown(logs: Any) -> dict[str, Any]:
    chosen = {name: logs[name] for name in _SHOWN if name in (logs or {})}
    if "examples_per_second" in (logs or {}):
        chosen["examples/s"] = round(logs["examples_per_second"])
    return chosen


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
