"""How far estimates of log g lie from it: what a measurement found, and its figures."""

import io
import os
from typing import NamedTuple, Self

import numpy as np


class AgeGroup(NamedTuple):
    """The error of the entries of some ages.

    Attributes:
        youngest, oldest: ints, the steps since they were visited, both inclusive.
        entries: int, how many there are.
        bias: float, the mean of log u - log g.
        rms: float, the root of its mean square.
    """

    youngest: int
    oldest: int
    entries: int
    bias: float
    rms: float


class MeasuredNormalizer(NamedTuple):
    """Estimates of log g beside what they estimate, entry by entry.

    Attributes:
        log_u: float32 [n], the estimates.
        log_g: float32 [n], the exact values.
        index: int [n], the examples that they are of. Where each anchor has an entry of its own,
            those of a come first, then those of b.
        age: int64 [n], the training steps since an entry was visited, 0 for those of the newest
            step; None where that is not known.
        never_visited: int, entries that have no estimate, and are left out above.
        step: int, the training steps of the model.
    """

    log_u: np.ndarray
    log_g: np.ndarray
    index: np.ndarray  # type: ignore[assignment]
    age: np.ndarray | None
    never_visited: int
    step: int

    @property
    def error(self) -> np.ndarray:
        """float64 [n], log u - log g."""
        return self.log_u.astype(np.float64) - self.log_g

    @property
    def bias(self) -> float:
        """The mean error, in nats: above 0 where g is taken for larger than it is."""
        return _mean(self.error)

    @property
    def rms(self) -> float:
        """The root of the mean square of the error."""
        return _root_mean_square(self.error)

    @property
    def deviation(self) -> float:
        """The standard deviation of the error: its root mean square without the bias."""
        return _root_mean_square(self.error - self.bias)

    @property
    def correlation(self) -> float:
        """Pearson's, of log u with log g, in -1..1; NaN where either is the same for all."""
        if len(self.log_u) == 0:
            return float("nan")
        u, g = (x.astype(np.float64) - np.mean(x, dtype=np.float64) for x in self[:2])
        both = np.sqrt(np.sum(u**2) * np.sum(g**2))
        return float(np.sum(u * g) / both) if both > 0 else float("nan")

    @property
    def compared(self) -> int:
        """n."""
        return len(self.log_u)

    def figures(self) -> dict[str, float]:
        """{"normalizer_bias", "normalizer_rms", "normalizer_correlation"}, as logs have them."""
        names = ("bias", "rms", "correlation")
        return {f"normalizer_{name}": getattr(self, name) for name in names}

    def by_age(self) -> list[AgeGroup]:
        """The error over the age, which doubles from group to group: 0, 1, 2-3, 4-7, ...

        Empty where ages are not known; groups without entries are left out.
        """
        if self.age is None:
            return []
        # 0, 1, 2, 2, 3, 3, 3, 3, ...: the binary digits of an age.
        digits = np.frexp(self.age.astype(np.float64))[1]
        return [self._group(int(number), digits == number) for number in np.unique(digits)]

    def _group(self, digits: int, chosen: np.ndarray) -> AgeGroup:
        error = self.error[chosen]
        youngest, oldest = (2 ** (digits - 1), 2**digits - 1) if digits else (0, 0)
        return AgeGroup(youngest, oldest, len(error), _mean(error), _root_mean_square(error))

    def to_bytes(self) -> bytes:
        """An .npz file of it."""
        file = io.BytesIO()
        known = {name: value for name, value in self._asdict().items() if value is not None}
        np.savez(file, **known)
        return file.getvalue()

    @classmethod
    def from_file(cls, path: str | os.PathLike) -> Self:
        """What `to_bytes` wrote."""
        with np.load(path) as file:
            log_u, log_g, index = (file[name] for name in ("log_u", "log_g", "index"))
            never_visited, step = (int(file[name]) for name in ("never_visited", "step"))
            return cls(log_u, log_g, index, file.get("age"), never_visited, step)


def _mean(error):
    return float(np.mean(error)) if len(error) else float("nan")


def _root_mean_square(error):
    return float(np.sqrt(_mean(error**2)))
