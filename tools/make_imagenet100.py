"""Makes ImageNet-100 for configs/imagenet100.py: those class folders of ImageNet that a list names.

    python tools/make_imagenet100.py IMAGENET OUT [--list=FILE] [--how=link|hardlink|copy]

IMAGENET holds `train` and `val`, and each of them a folder of images per class, called by its
WordNet id: IMAGENET/train/n01440764/*.JPEG. OUT gets the same two with the classes of the list.

--how=link (the default) links the folders of IMAGENET, which takes no room; hardlink
links every file, on the same file system, so that OUT outlives IMAGENET; copy copies every file.
OUT is made in a hidden folder beside it and renamed when it is whole. A command that was stopped
goes on where it was when it is given again, and one whose OUT is there already changes nothing.

The list has a WordNet id per line, and comments after a #. tools/imagenet100.txt, the default, is
the list of CMC (Tian et al., arXiv 1906.05849); tools/imagenet_s.txt is that of SogCLR's authors,
as far as is known.
"""

import argparse
import errno
import hashlib
import os
import pathlib
import re
import shutil
import sys

from tqdm import tqdm

SPLITS = ("train", "val")
HOWS = ("link", "hardlink", "copy")
LIST = pathlib.Path(__file__).with_name("imagenet100.txt")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("imagenet", type=pathlib.Path, help="folder with train and val")
    parser.add_argument("out", type=pathlib.Path, help="folder to make")
    parser.add_argument("--list", type=pathlib.Path, default=LIST, help="file of WordNet ids")
    parser.add_argument("--classes", type=int, default=100, help="how many the list must name")
    parser.add_argument("--how", choices=HOWS, default="link")
    options = parser.parse_args()
    try:
        classes = read_list(options.list, options.classes)
        images = find_images(options.imagenet, classes)
        made = make(options.imagenet, options.out, images, options.how)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped: the same command goes on from there")
    counts = (sum(len(images[split, name]) for name in classes) for split in SPLITS)
    print(
        f"{options.out} {'holds' if made else 'held already'} {len(classes)} classes: "
        "{:,} images to train on and {:,} to validate".format(*counts)
    )


def read_list(path, count):
    """The class ids of a list in its order.

    Raises:
        ValueError: a line is no WordNet id, one is there twice, or they are not `count`.
    """
    lines = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        if not re.fullmatch(r"n\d{8}", name):
            raise ValueError(
                f"line {number} of {path} is '{name}': expected a WordNet id such as n01440764"
            )
        if name in lines:
            raise ValueError(
                f"{path} names {name} in lines {lines[name]} and {number}: take one of them out"
            )
        lines[name] = number
    if len(lines) != count:
        raise ValueError(
            f"{path} names {len(lines)} classes, expected {count}: complete the list, or say "
            f"--classes={len(lines)}"
        )
    return list(lines)


def find_images(imagenet, classes):
    """{(split, class): {file name: size in bytes}}, without hidden files.

    Raises:
        FileNotFoundError: a split or the folder of a class is missing, or no file lies in one.
    """
    for split in SPLITS:
        folder = imagenet / split
        if not folder.is_dir():
            raise FileNotFoundError(
                f"there is no folder {folder}: give the folder that holds {' and '.join(SPLITS)}"
            )
        missing = [name for name in classes if not (folder / name).is_dir()]
        if missing:
            raise FileNotFoundError(
                f"{len(missing)} of {len(classes)} classes have no folder in {folder}, the first "
                f"is {missing[0]}: sort the images into a folder per class, called by its id"
            )
    found = {(split, name): _files(imagenet / split / name) for split in SPLITS for name in classes}
    empty = [imagenet / split / name for (split, name), files in found.items() if not files]
    if empty:
        raise FileNotFoundError(
            f"{len(empty)} class folders hold no file, the first is {empty[0]}: unpack the images "
            "there"
        )
    return found


def make(imagenet, out, images, how):
    """Makes `out` from what `find_images` found; False where it was there already.

    Raises:
        FileExistsError: `out` holds something else.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        _check_same(out, images)
        return False
    # An absolute path, so that links mean the same from wherever they are followed.
    imagenet, out = imagenet.absolute(), out.absolute()
    # Another command's unfinished folder must not be taken for this one's.
    work = repr((str(imagenet), how, sorted(images)))
    unfinished = out.with_name(f".{out.name}.{hashlib.sha256(work.encode()).hexdigest()[:8]}")
    for split in SPLITS:
        (unfinished / split).mkdir(parents=True, exist_ok=True)
    total = len(images) if how == "link" else sum(map(len, images.values()))
    with tqdm(total=total, unit="folder" if how == "link" else "image", disable=None) as bar:
        for split, name in images:
            source, target = imagenet / split / name, unfinished / split / name
            if how == "link":
                if not target.is_symlink():
                    target.symlink_to(source, target_is_directory=True)
                bar.update()
                continue
            target.mkdir(exist_ok=True)
            for file, size in images[split, name].items():
                _place(source / file, target / file, size, how)
                bar.update()
    unfinished.rename(out)
    return True


def _holds(folder, files):
    return folder.is_dir() and _files(folder) == files


def _files(folder):
    with os.scandir(folder) as entries:
        return {
            entry.name: entry.stat().st_size
            for entry in entries
            if entry.is_file() and not entry.name.startswith(".")
        }


def _place(source, target, size, how):
    """Puts one file in its place, where it is not there already."""
    if target.exists() and target.stat().st_size == size:
        return
    if how == "copy":
        part = target.with_name(f".{target.name}.part")
        shutil.copyfile(source, part)
        part.replace(target)
        return
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise ValueError(
            f"{target.parent} lies on another file system than {source}, which no hard link "
            "leaves: take --how=link or --how=copy"
        ) from None


def _check_same(out, images):
    """Raises FileExistsError unless a folder holds these images and no other, links or copies."""
    problem = None
    if not out.is_dir():
        problem = "is no folder"
    elif {path.name for path in out.iterdir()} != set(SPLITS):
        problem = f"does not hold {' and '.join(SPLITS)} alone"
    else:
        there = {(split, path.name) for split in SPLITS for path in (out / split).iterdir()}
        others = sorted(there.symmetric_difference(images)) or sorted(
            key for key in images if not _holds(out / key[0] / key[1], images[key])
        )
        if others:
            problem = f"differs in {'/'.join(others[0])}"
    if problem:
        raise FileExistsError(f"{out} exists and {problem}: remove it, or give another folder")


if __name__ == "__main__":
    main()
