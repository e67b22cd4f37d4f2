"""Material of a report, and a report that is written of it."""

import dataclasses
import re

import numpy as np
import pytest
from support.chromium import read_page

from sogclr_tf.evaluation.measured_normalizer import MeasuredNormalizer
from sogclr_tf.report import run_report
from sogclr_tf.report.material import Example, Material

RANDOM = np.random.default_rng(0)


def images(count, side=32):
    return RANDOM.integers(0, 256, (count, side, side, 3), np.uint8)


def neighbors(queries, nearest, side=32):
    """The neighbors of query q have the classes 0, 1, ...; its own is 0."""
    return [
        (Example(query, "query", 0), [Example(image, "found", k) for k, image in enumerate(found)])
        for query, found in zip(
            images(queries, side), [images(nearest, side) for _ in range(queries)], strict=True
        )
    ]


def measured(count=50, **changes):
    log_g = np.random.default_rng(1).normal(3, 1, count).astype(np.float32)
    whole = MeasuredNormalizer(
        log_u=log_g + 0.25,
        log_g=log_g,
        index=np.arange(count),
        age=np.arange(count),
        never_visited=7,
        step=1234,
    )
    return whole._replace(**changes)


def material(**changes):
    labels = np.arange(60) % 3
    whole = Material(
        title="a run",
        command="python -m sogclr_tf.run",
        config={"seed": 0, "loss": {"name": "sogclr", "temperature": 0.1}},
        environment={"tensorflow": "2.20"},
        result={"knn_top1": 0.9, "untrained_knn_top1": 0.4, "steps": 1200},
        history={"epoch": [0, 1, 2], "loss": [3, 2, 1], "knn_top1": [np.nan, 0.5, np.nan]},
        features=RANDOM.normal(size=(60, 16)).astype(np.float32) + labels[:, np.newaxis],
        labels=labels,
        class_names=["cat", "dog", "cow"],
        neighbors=neighbors(2, 3),
        log_u=np.append(RANDOM.normal(5, 1, 99), -np.inf).astype(np.float32),
        hardest=[Example(image, "dog, 7.1") for image in images(4)],
        easiest=[Example(image, "cat, 2.3") for image in images(4)],
        confusion=np.array([[9, 1, 0], [5, 4, 1], [0, 0, 0]]),
        normalizer=measured(),
    )
    return dataclasses.replace(whole, **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


def written(path, **changes):
    assert run_report.write_report(material(**changes), path) == path
    return read_page(path)


def titles(text):
    """The headings of the sections, each of which has its entry in the contents."""
    headings = re.findall('<section id="(.*?)"><h2>(.*?)</h2>', text)
    assert headings == re.findall('<a href="#(.*?)">(.*?)</a>', text)
    return [title for _, title in headings]


def _text(path, **changes):
    written(path, **changes)
    return path.read_text()
