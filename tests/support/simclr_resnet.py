"""Checkpoints as google-research/simclr (tf2) exports them, of weights drawn by name."""

import numpy as np
import tensorflow as tf

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


def listed(depth, width=1, cifar=False):
    """[(full name, shape)] of an encoder's variables in Keras's order, as its code makes them."""
    is_bottleneck = depth >= 50
    kind = "bottleneck_block" if is_bottleneck else "residual_block"
    stem = (3, 3, 3, 64 * width) if cifar else (7, 7, 3, 64 * width)
    layers, number, block = [("resnet", 0, stem)], 1, 0
    channels = 64 * width
    for stage, count in enumerate(BLOCKS[depth]):
        inner = 64 * width * 2**stage
        out = 4 * inner if is_bottleneck else inner
        for index in range(count):
            path = f"resnet/block_group{stage + 1}/{_numbered(kind, block)}"
            shapes = (
                [(1, 1, channels, inner), (3, 3, inner, inner), (1, 1, inner, out)]
                if is_bottleneck
                else [(3, 3, channels, inner), (3, 3, inner, inner)]
            )
            # A shortcut is made first, and found last where it is one of a basic block.
            numbers = list(range(number, number + len(shapes) + (index == 0)))
            if index == 0:
                shapes.insert(0, (1, 1, channels, out))
                if not is_bottleneck:
                    numbers, shapes = numbers[1:] + numbers[:1], shapes[1:] + shapes[:1]
            layers += [(path, n, shape) for n, shape in zip(numbers, shapes, strict=True)]
            number, block, channels = number + len(shapes), block + 1, out
    trainable, statistics = [], []
    for path, number, shape in layers:
        convolution = f"{_numbered('conv2d_fixed_padding', number)}/{_numbered('conv2d', number)}"
        trainable.append((f"{path}/{convolution}/kernel", shape))
        norm = _numbered("sync_batch_normalization", number)
        norm = f"{path}/{_numbered('batch_norm_relu', number)}/{norm}"
        trainable += [(f"{norm}/{parameter}", shape[-1:]) for parameter in ("gamma", "beta")]
        statistics += [(f"{norm}/moving_{what}", shape[-1:]) for what in ("mean", "variance")]
    return trainable + statistics


def _numbered(name, number):
    return f"{name}_{number}" if number else name


def drawn(variables):
    """[(full name, array)] by the rule of the golden files."""
    return [(name, _draw(i, name, shape)) for i, (name, shape) in enumerate(variables)]


def _draw(number, name, shape):
    generator = np.random.default_rng([20261125, number])
    parameter = name.split("/")[-1]
    if parameter in ("moving_variance", "gamma"):
        return generator.uniform(0.5, 1.5, shape).astype(np.float32)
    if parameter in ("moving_mean", "beta", "bias"):
        return generator.normal(0, 0.1, shape).astype(np.float32)
    deviation = (1 / np.prod(shape[:-1])) ** 0.5
    return generator.normal(0, deviation, shape).astype(np.float32)


def write(folder, encoder, head=(), classifier=(), *, named=True, frozen=False):
    """Writes what the variables of a SavedModel are, beside a graph that nothing can read.

    Args:
        folder: pathlib.Path, not there yet.
        encoder, head, classifier: [(full name, array)], trainable unless statistics.
        named: whether the checkpoint keeps the full names.
        frozen: whether the encoder has no trainable variables; then Keras lists its layers one
            after the other.
    """
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(b"no graph")
    node, trainable, model = tf.train.Checkpoint, [], {}
    for part, attribute in (
        (encoder, "resnet_model"),
        (head, "_projection_head"),
        (classifier, "supervised_head"),
    ):
        made = {name: tf.Variable(a, name=name if named else None) for name, a in part}
        if frozen and part is encoder:
            made = dict(sorted(made.items(), key=lambda item: item[0].rpartition("/")[0]))
        else:
            trainable += [made[name] for name in made if "moving_" not in name]
        if made:
            model[attribute] = node(variables=list(made.values()))
    root = node(model=node(**model), trainable_variables_list=trainable)
    root.write(str(folder / "variables" / "variables"))
    return folder
