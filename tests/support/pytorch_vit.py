"""Vision Transformers of MoCo v3, DINO and timm: state dicts from seeds, and their own features.

    python tests/support/pytorch_vit.py moco CODE     # with timm 0.4.12 and MoCo v3's code in CODE
    python tests/support/pytorch_vit.py dino CODE     # with DINO's code in CODE
    python tests/support/pytorch_vit.py timm          # with timm 1.0

writes the golden features with PyTorch and the code of each: MoCo v3's vits.py and moco/builder.py,
DINO's vision_transformer.py and what they import. A golden file says what the arrays of a
checkpoint are called and how they are shaped; an array is then drawn with the CRC-32 of its name as
its seed, which needs NumPy alone.
"""

import pathlib
import sys
import zlib

import numpy as np

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SIDE = 64
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# The published weights of timm's ViTs.
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
GRIDS = ((3, 5), (4, 4), (7, 6))


def images(height=SIDE, width=SIDE):
    """float32 [2, height, width, 3] in 0..1."""
    return np.random.default_rng(height).random((2, height, width, 3), np.float32)


def state_dict(golden):
    """{name: numpy array} of the checkpoint that a golden file tells of."""
    arrays = {}
    for name, sides in zip(map(str, golden["names"]), golden["shapes"], strict=True):
        arrays[name] = drawn(name, tuple(map(int, str(sides).split())))
    if "fixed_positions" in golden:
        name = next(name for name in arrays if name.endswith("base_encoder.pos_embed"))
        arrays[name] = golden["fixed_positions"]
    return arrays


def drawn(name, shape):
    """The array of that name and shape, float32, with which activations are about 1."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if not is_of_the_encoder(name):
        return np.broadcast_to(np.float32(1), shape)
    if len(shape) == 1:
        is_scale = "norm" in name and name.endswith("weight")
        return random.uniform(*((0.5, 1.5) if is_scale else (-0.3, 0.3)), shape).astype(np.float32)
    fan_in = 4 if len(shape) == 3 else np.prod(shape[1:])
    return random.standard_normal(shape, np.float32) / np.float32(np.sqrt(fan_in))


def is_of_the_encoder(name):
    return not any(part in name for part in ("momentum_encoder", "predictor", "head"))


def timm_network(*, is_mean=False):
    """A tiny ViT of timm's; its mean of patches goes without a class token."""
    import timm

    pooled = {"class_token": False, "global_pool": "avg"} if is_mean else {}
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=(48, 80) if is_mean else SIDE, **pooled
    )


def timm_features(network, batch):
    """float32 [B, C] of images in 0..1."""
    return _features(lambda x: network.forward_head(network.forward_features(x), True), batch, HALF)


def load(network, arrays):
    """Puts the encoder's arrays into a network, which is then one for inference."""
    import torch

    state = network.state_dict()
    assert state.keys() == arrays.keys()
    for name, array in arrays.items():
        if is_of_the_encoder(name):
            state[name] = torch.tensor(array, dtype=state[name].dtype)
    network.load_state_dict(state)
    return network.eval()


def _features(encode, batch, normalization):
    import torch

    mean, deviation = np.float32(normalization)
    normalized = torch.tensor(((batch - mean) / deviation).transpose(0, 3, 1, 2))
    with torch.no_grad():
        return encode(normalized).numpy()


def _described(state):
    shapes = [" ".join(map(str, value.shape)) for value in state.values()]
    return {"names": list(state), "shapes": shapes}


def _write(name, checkpoint, **found):
    np.savez_compressed(GOLDEN / f"vit_{name}.npz", **_described(checkpoint), **found)


def write_moco():
    """MoCo v3's small, within all that its checkpoints hold."""
    import functools

    import builder
    import vits

    encoder = functools.partial(vits.vit_small, img_size=SIDE)
    model = builder.MoCo(encoder, with_vit=True, dim=32, mlp_dim=64)
    described = {f"module.{name}": value for name, value in model.state_dict().items()}
    fixed = model.base_encoder.pos_embed.numpy()
    arrays = state_dict(_described(described) | {"fixed_positions": fixed})
    load(model, {name.removeprefix("module."): array for name, array in arrays.items()})
    found = _features(model.base_encoder.forward_features, images(), IMAGENET)
    _write("moco_v3_small", described, features=found, fixed_positions=fixed)


def write_dino():
    """DINO's tiny as the teacher of a checkpoint, and its small alone, as it is published."""
    import torch
    import vision_transformer

    tiny = vision_transformer.vit_tiny(img_size=[SIDE])
    head = vision_transformer.DINOHead(192, 1024)
    small = vision_transformer.vit_small(img_size=[SIDE])
    for name, model in (
        ("dino_tiny", torch.nn.ModuleDict({"backbone": tiny, "head": head})),
        ("dino_small", small),
    ):
        described = model.state_dict()
        arrays = load(model, state_dict(_described(described))).state_dict()
        network = model["backbone"] if name == "dino_tiny" else model
        found = {"features": _features(network, images(), IMAGENET)}
        if name == "dino_small":
            found |= _resampled(arrays["pos_embed"])
        _write(name, described, **found)


def _resampled(positions):
    """{"grid_3x5": [15, 8], ...}: eight numbers of the patches' positions in other grids."""
    import torch

    patches = positions[:, 1:, :8].reshape(1, 4, 4, 8).permute(0, 3, 1, 2)
    return {
        "grid_{}x{}".format(*grid): torch.nn.functional.interpolate(
            patches, size=grid, mode="bicubic", align_corners=False
        )[0]
        .permute(1, 2, 0)
        .reshape(-1, 8)
        .numpy()
        for grid in GRIDS
    }


def write_timm():
    for name, is_mean in (("timm_tiny", False), ("timm_mean", True)):
        network = timm_network(is_mean=is_mean)
        described = network.state_dict()
        load(network, state_dict(_described(described)))
        batch = images(48, 80) if is_mean else images()
        _write(name, described, features=timm_features(network, batch))


if __name__ == "__main__":
    sys.path[:0] = sys.argv[2:]
    {"moco": write_moco, "dino": write_dino, "timm": write_timm}[sys.argv[1]]()
