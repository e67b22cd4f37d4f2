"""Trainings to compare with, or to begin from."""

import pytest
from support.checkpointed import train


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A training that nothing interrupted."""
    return train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def one_epoch(tmp_path_factory):
    """The folder of a training that ended after an epoch."""
    folder = tmp_path_factory.mktemp("one_epoch")
    train(folder, epochs=1)
    return folder
