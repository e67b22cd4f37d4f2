"""What the report of a run is made of."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Example:
    """An image to show.

    Attributes:
        image: uint8 or float in 0..1, [H, W, C].
        caption: class name, file name, log u: what stands below it.
        label: its class from 0, or None where it is unknown.
    """

    image: np.ndarray
    caption: str
    label: int | None = None


@dataclasses.dataclass(frozen=True)
class Material:
    """What a report is made of. What is None or empty has no section.

    Attributes:
        title: such as the name of the run's folder.
        command: the exact command line.
        config: nested dictionary that JSON can hold.
        environment: {str: str}: versions, machine, strategy.
        result: numbers by name, nested dictionaries and lists among them. A name that begins with
            "untrained_" stands beside the name without it; accuracies and recall are in 0..1.
        history: {column: list of floats} with "epoch"; NaN where an epoch has no value.
        features: float32 [M, C] of test images.
        labels: int [M] from 0.
        class_names: list of str, a name for each class.
        neighbors: of (query: Example, [nearest: Example, ...]).
        log_u: float32 [N] of the training images, -inf where never visited.
        hardest: Examples of the largest u.
        easiest: Examples of the smallest u.
        confusion: int [K, K]: rows are the true class, columns the probe's prediction.
        normalizer: the last measurement of the table, as `sogclr_tf.normalizer_error` gives it.
        retrieved: what held-out texts and images found, as `report.retrieval.Retrieved`.
        temperatures: {name: float32 [N]} of temperatures of single examples.
    """

    title: str
    command: str = ""
    config: dict = dataclasses.field(default_factory=dict)
    environment: dict = dataclasses.field(default_factory=dict)
    result: dict = dataclasses.field(default_factory=dict)
    history: dict = dataclasses.field(default_factory=dict)
    features: np.ndarray | None = None
    labels: np.ndarray | None = None
    class_names: list | None = None
    neighbors: list = dataclasses.field(default_factory=list)
    log_u: np.ndarray | None = None
    hardest: list = dataclasses.field(default_factory=list)
    easiest: list = dataclasses.field(default_factory=list)
    confusion: np.ndarray | None = None
    normalizer: Any = None
    retrieved: Any = None
    temperatures: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        features, labels, confusion = self.features, self.labels, self.confusion
        if features is not None and np.ndim(features) != 2:
            raise ValueError(
                f"features have shape {np.shape(features)}: expected [M, C]; flatten them"
            )
        if features is not None and labels is not None and len(features) != len(labels):
            raise ValueError(
                f"there are {len(labels)} labels: expected one for each of {len(features)} "
                "features; give those of the same images"
            )
        if confusion is not None and (len(confusion),) * 2 != np.shape(confusion):
            raise ValueError(
                f"confusion has shape {np.shape(confusion)}: expected [K, K]; count all classes in "
                "both directions"
            )
