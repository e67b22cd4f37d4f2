"""A linear classifier of features, kept as the arrays that it is."""

import io
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np


class LinearProbe(NamedTuple):
    """Scores of K classes: (features [M, C] - mean) @ kernel + bias.

    The mean stands apart, as it may be large beside what differs between images.

    Attributes:
        mean: float32 [C].
        kernel: float32 [C, K].
        bias: float32 [K]; -inf for a class that training lacked, whose probability is 0 then.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> mean, bias = np.array([1, 1], "float32"), np.array([0, 0.5], "float32")
        >>> probe = sogclr_tf.LinearProbe(mean, np.eye(2, dtype="float32"), bias)
        >>> probe.scores([[3, 1], [1, 3]]).tolist()
        [[2.0, 0.5], [0.0, 2.5]]
        >>> probe.layer().output_shape  # for `export_encoder(..., head=probe.layer())`
        (None, 2)
    """

    mean: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray

    @classmethod
    def from_standardized(
        cls, mean: np.ndarray, deviation: np.ndarray, kernel: np.ndarray, bias: np.ndarray
    ) -> Self:
        """The probe whose kernel was learned of (features - mean) / deviation.

        Args:
            mean, deviation: float [C]; the deviation above 0.
            kernel: float [C, K].
            bias: float [K].

        Returns:
            `LinearProbe` of features as they are.
        """
        kernel = np.asarray(kernel) / np.asarray(deviation)[:, None]
        return cls(*(np.asarray(x, np.float32) for x in (mean, kernel, bias)))

    def scores(self, features: Any) -> np.ndarray:
        """The scores of every class, whose softmax are probabilities.

        Args:
            features: float [M, C].

        Returns:
            float32 [M, K].
        """
        return (np.asarray(features, np.float32) - self.mean) @ self.kernel + self.bias

    def layer(self) -> Any:
        """The probe as Keras layers, such as for the `head` of `sogclr_tf.export_encoder`.

        Returns:
            A built Keras model, features float [B, C] -> scores float32 [B, K].
        """
        import keras

        width, classes = self.kernel.shape
        layer = keras.Sequential(
            [
                keras.Input((width,)),
                keras.layers.Normalization(
                    mean=self.mean, variance=np.ones(width), dtype="float32"
                ),
                keras.layers.Dense(classes, dtype="float32", name="classes"),
            ]
        )
        layer.set_weights([self.kernel, self.bias])
        return layer

    def to_bytes(self, class_names: Sequence[str] | None, encoder: str) -> bytes:
        """An .npz file of the probe, the names of its classes and the encoder that it belongs to.

        Args:
            class_names: K strings, or None.
            encoder: str, whatever names the encoder.

        Returns:
            The bytes of the file.
        """
        file = io.BytesIO()
        np.savez(file, **self._asdict(), class_names=list(class_names or []), encoder=encoder)
        return file.getvalue()

    @classmethod
    def from_file(cls, path: str | os.PathLike) -> tuple[Self, list[str] | None, str]:
        """Reads what `to_bytes` made.

        Args:
            path: of the .npz file.

        Returns:
            (`LinearProbe`, class names as a list or None, what names the encoder).
        """
        with np.load(path) as file:
            names = file["class_names"].astype(str).tolist()
            return (
                cls(file["mean"], file["kernel"], file["bias"]),
                names or None,
                str(file["encoder"]),
            )
