"""Tar shards for tests, as webdataset and img2dataset write them."""

import io
import tarfile

import tensorflow as tf


def write_tar(path, members, format=tarfile.USTAR_FORMAT):
    """A tar of (name, bytes), local or at a path that tf.io.gfile knows; gives its path."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    # A file in memory is not cut before it is written again.
    if tf.io.gfile.exists(str(path)):
        tf.io.gfile.remove(str(path))
    with tf.io.gfile.GFile(str(path), "wb") as file:
        file.write(buffer.getvalue())
    return str(path)


def write_shards(folder, images, shards=3, **contents):
    """The pattern of shards with images as PNG, and for each suffix a list of contents beside."""
    tf.io.gfile.makedirs(str(folder))
    for shard in range(shards):
        begin, end = len(images) * shard // shards, len(images) * (shard + 1) // shards
        members = []
        for place in range(begin, end):
            members.append((f"{place:05}.png", tf.io.encode_png(images[place]).numpy()))
            members += [(f"{place:05}.{suffix}", of[place]) for suffix, of in contents.items()]
        write_tar(f"{folder}/{shard:02}.tar", members)
    return f"{folder}/{{00..{shards - 1:02}}}.tar"
