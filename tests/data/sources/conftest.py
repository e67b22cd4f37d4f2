"""A folder of images, tables beside it, and a cache of each test's own."""

import numpy as np
import pytest
from support.files import write_folder, write_table
from support.manifests import N


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images that differ, 00000.png and so on."""
    images = np.random.default_rng(0).integers(0, 256, (N, 6, 5, 3), dtype=np.uint8)
    return write_folder(tmp_path_factory.mktemp("images"), images)


@pytest.fixture
def table(folder, request):
    """Writes a table of these columns beside the images."""

    def write(suffix=".csv", **columns):
        return write_table(folder / f"{request.node.name[:40]}{suffix}", **columns)

    return write


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SOGCLR_TF_CACHE", str(tmp_path_factory.mktemp("cache")))
