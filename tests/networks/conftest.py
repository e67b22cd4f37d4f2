"""ResNets whose weights are imported from PyTorch's arrays."""

import pytest
from support import pytorch_resnet, pytorch_vit

from sogclr_tf import import_resnet


@pytest.fixture(scope="session")
def imported():
    """Function of the name of a golden file: (state dict, encoder of any size, report).

    Their arrays are not to be changed.
    """
    made = {}

    def of(name):
        if name not in made:
            arrays = pytorch_resnet.state_dict(**pytorch_resnet.GOLDEN[name])
            made[name] = arrays, *import_resnet(arrays, input_shape=(None, None, 3))
        return made[name]

    return of


@pytest.fixture(scope="session")
def state(imported):
    """The state dict of a ResNet-18 with the CIFAR stem."""
    return imported("torch_resnet18_cifar")[0]


@pytest.fixture(scope="session")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")


@pytest.fixture(scope="session")
def short(golden):
    """A DINO's tiny of two blocks, without head."""
    arrays = pytorch_vit.state_dict(golden("vit_dino_tiny"))
    arrays = {name.removeprefix("backbone."): array for name, array in arrays.items()}
    return {
        name: array
        for name, array in arrays.items()
        if not name.startswith("head.")
        and (not name.startswith("blocks.") or int(name.split(".")[1]) < 2)
    }
