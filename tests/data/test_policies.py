"""The policies of published methods: what their papers say, number by number."""

import dataclasses

import pytest

from sogclr_tf import Policy
from sogclr_tf.data import policies

COMMON = {
    **{"size": 24, "min_area": 0.08, "max_aspect": 4 / 3, "flip": 0.5, "jitter": 0.8},
    **{"hue": 0.2, "grayscale": 0.2},
}
PUBLISHED = {
    "simclr": [{"strength": 1.0, "saturation": 0.8, "blur": 0.5, "solarize": 0}] * 2,
    "simclr-cifar": [{"strength": 0.5, "saturation": 0.8, "blur": 0, "solarize": 0}] * 2,
    "byol": [
        {"strength": 0.5, "saturation": 0.4, "blur": 1.0, "solarize": 0},
        {"strength": 0.5, "saturation": 0.4, "blur": 0.1, "solarize": 0.2},
    ],
    "bands": [{"strength": 1, "saturation": 0, "hue": 0, "grayscale": 0, "blur": 0, "solarize": 0}]
    * 2,
}


@pytest.mark.parametrize("name", policies._NAMES)
def test_both_views_are_as_published(name):
    for policy, own in zip(policies.by_name(name, 24), PUBLISHED[name], strict=True):
        assert isinstance(policy, Policy)
        assert dataclasses.asdict(policy) == pytest.approx({**COMMON, **own})


def test_functions_and_names_are_the_same():
    assert policies.by_name("byol", 24) == policies.byol(24)
    assert policies.by_name("simclr", 24) == policies.simclr(24)
    assert policies.by_name("simclr-cifar", 24) == policies.simclr_cifar(24)


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="unknown policy 'moco': choose one of simclr, simclr-cif"):
        policies.by_name("moco", 24)


def test_wrong_size():
    with pytest.raises(ValueError, match="size is 0"):
        policies.by_name("byol", 0)
