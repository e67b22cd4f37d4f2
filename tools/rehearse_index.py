"""Rehearses a collection of ImageNet's size without its images: time and memory of its index.

    python tools/rehearse_index.py [--sizes 10000 1280000] [--kinds tars] [--folder=DIR]

For every size a folder of files, TFRecord files and tar shards of pairs (.png, .txt and .json) are
made below DIR (a temporary folder that is removed, unless given), all of the same tiny picture: the
files of a class are links to one file, so that a million of them fit on any disk. Each is then
opened by two fresh processes, one after the other: the first finds everything out, the second has
its manifest. Measured are the seconds until the source is there, until the first batch, and until
50 batches of 256; and the memory that came to the process from before the source was made to after
the batches.

A million files take a few minutes.
"""

import argparse
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

PER_CLASS, PER_SHARD = 1280, 10_000
BATCHES, BATCH = 50, 256
SETTLED = 3  # seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_280_000])
    parser.add_argument("--kinds", nargs="+", choices=[*MAKE], default=[*MAKE])
    parser.add_argument("--folder", type=pathlib.Path, help="where to make the files, to keep them")
    parser.add_argument("--open", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.open:
        print(json.dumps(opened(options.open)))
        return
    print("| images | kind | start | source, s | first batch, s | 50 batches, s | memory, MB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for size in options.sizes:
            rehearse((options.folder or pathlib.Path(temporary)) / str(size), size, options.kinds)


def rehearse(folder, size, kinds):
    """Makes the kinds of a size where they are missing, and opens each twice."""
    for kind in kinds:
        place = folder / kind
        if not place.exists():
            MAKE[kind](place, size)
            # What has changed just now may change again unseen, and has no manifest.
            time.sleep(SETTLED)
        with tempfile.TemporaryDirectory() as cache:
            for start in ("first", "second"):
                found = in_a_fresh_process(place, cache)
                print(
                    f"| {size:,} | {kind} | {start} | {found['source']:.2f} | {found['first']:.2f} "
                    f"| {found['batches']:.2f} | {found['memory']:.0f} |",
                    flush=True,
                )


def picture(number):
    import tensorflow as tf

    return tf.io.encode_png(tf.fill([8, 8, 3], tf.cast(number % 256, tf.uint8))).numpy()


def make_files(folder, size):
    """A folder per class. A file may have 65,000 names at most."""
    for begin in range(0, size, PER_CLASS):
        inside = folder / f"n{begin // PER_CLASS:08}"
        inside.mkdir(parents=True)
        first = inside / f"{begin:08}.png"
        first.write_bytes(picture(begin // PER_CLASS))
        for number in range(begin + 1, min(begin + PER_CLASS, size)):
            os.link(first, inside / f"{number:08}.png")


def make_records(folder, size):
    import tensorflow as tf

    folder.mkdir(parents=True)
    image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture(0)]))
    for begin in range(0, size, PER_SHARD):
        label = tf.train.Feature(int64_list=tf.train.Int64List(value=[begin // PER_SHARD]))
        features = tf.train.Features(feature={"image/encoded": image, "image/class/label": label})
        record = tf.train.Example(features=features).SerializeToString()
        with tf.io.TFRecordWriter(str(folder / f"{begin:08}.tfrecord")) as writer:
            for _ in range(min(PER_SHARD, size - begin)):
                writer.write(record)


def make_tars(folder, size):
    """Shards as img2dataset writes them, with a caption of 60 characters."""
    folder.mkdir(parents=True)
    image = picture(0)
    for begin in range(0, size, PER_SHARD):
        with tarfile.open(folder / f"{begin // PER_SHARD:05}.tar", "w") as tar:
            for number in range(begin, min(begin + PER_SHARD, size)):
                caption = f"a picture with the number {number} ".ljust(60, "x")
                meta = json.dumps({"caption": caption, "status": "success", "key": f"{number:09}"})
                contents = {"png": image, "txt": caption.encode(), "json": meta.encode()}
                for suffix, data in contents.items():
                    info = tarfile.TarInfo(f"{number:09}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


def in_a_fresh_process(place, cache):
    process = subprocess.run(
        [sys.executable, __file__, "--open", str(place)],
        env={**os.environ, "SOGCLR_TF_CACHE": cache},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(process.stdout)


def opened(place):
    """Seconds and megabytes of one start."""
    import sogclr_tf
    from sogclr_tf.data.sources.arrays import digits
    from sogclr_tf.data.sources.open import from_path

    policy = sogclr_tf.Policy(8, jitter=0, grayscale=0)
    # What TensorFlow allocates for any stream is not the collection's.
    small = sogclr_tf.training_views(digits("train"), batch_size=BATCH, policy=policy)
    next(iter(small.stream()))
    before, began = resident(), time.perf_counter()
    pattern = {"files": place, "records": place / "*.tfrecord", "tars": place / "*.tar"}
    is_tar = place.name == "tars"
    source = from_path(pattern[place.name], text="txt" if is_tar else None)
    found = {"source": time.perf_counter() - began}
    streams = sogclr_tf.training_pairs if is_tar else sogclr_tf.training_views
    batches = iter(streams(source, batch_size=BATCH, policy=policy).stream())
    next(batches)
    found["first"] = time.perf_counter() - began
    for _ in range(BATCHES - 1):
        next(batches)
    found["batches"] = time.perf_counter() - began
    found["memory"] = resident() - before
    return found


def resident():
    """Megabytes of this process in memory."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


MAKE = {"files": make_files, "records": make_records, "tars": make_tars}


if __name__ == "__main__":
    main()
