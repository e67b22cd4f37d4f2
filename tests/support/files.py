"""Collections of images as files, for tests."""

import csv
import json

import tensorflow as tf


def write_folder(folder, images, labels=None, suffix=".png"):
    """One file per image; label k lies in the sub-folder "class<k>"."""
    encode = tf.io.encode_png if suffix == ".png" else tf.io.encode_jpeg
    for place, image in enumerate(images):
        inside = folder if labels is None else folder / f"class{labels[place]}"
        inside.mkdir(parents=True, exist_ok=True)
        (inside / f"{place:05}{suffix}").write_bytes(encode(image).numpy())
    return folder


def write_table(path, /, **columns):
    """A table of equally long columns, of the form that its suffix says."""
    rows = [*zip(*columns.values(), strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            for row in rows:
                file.write(json.dumps(dict(zip(columns, row, strict=True))) + "\n")
        else:
            writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writerows([[*columns], *rows])
    return path


def example(**features):
    """A serialized tf.train.Example of bytes, ints, floats and lists of ints; "__" is for "/"."""
    kinds = {
        bytes: lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])),
        int: lambda value: tf.train.Feature(int64_list=tf.train.Int64List(value=[value])),
        float: lambda value: tf.train.Feature(float_list=tf.train.FloatList(value=[value])),
        list: lambda value: tf.train.Feature(int64_list=tf.train.Int64List(value=value)),
    }
    feature = {name.replace("__", "/"): kinds[type(v)](v) for name, v in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def write_records(path, records, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return path


def write_shards(folder, images, labels, ids=None, shards=3, compression=""):
    """`shards` TFRecord files of nearly equal length; the pattern that matches them."""
    records = []
    for place, image in enumerate(images):
        features = {
            "image__encoded": tf.io.encode_png(image).numpy(),
            "image__class__label": int(labels[place]),
        }
        if ids is not None:
            features["id"] = int(ids[place])
        records.append(example(**features))
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        begin, end = len(records) * shard // shards, len(records) * (shard + 1) // shards
        write_records(folder / f"part-{shard}.tfrecord", records[begin:end], compression)
    return str(folder / "part-*.tfrecord")
