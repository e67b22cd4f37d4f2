"""Makes tar shards of emoji, in several drawings and with several captions each, of npm packages.

    npm install --no-save --ignore-scripts --prefix=FOLDER emoji-datasource-apple \\
        emoji-datasource-facebook emoji-datasource-google emoji-datasource-twitter \\
        emojibase-data emojilib
    python tools/make_emoji_pairs.py FOLDER/node_modules OUT [--styles=a,b] [--held_out=b]

(345 MB to download; written for versions 16.0.0 of emoji-datasource-*, 17.0.0 of emojibase-data and
4.0.3 of emojilib.) OUT gets WebDataset shards:

- train-STYLE-PART.tar, parts 1 to 9: most meanings, in all styles but the one that is held out;
- test-STYLE-0.tar: a tenth of the meanings, which no other shard has, in the same styles;
- style-STYLE-PART.tar: the meanings of train in the style that is held out.

A meaning has the same part in all styles, by a hash of its code points, so that leaving out a part
of train leaves out its meanings. Its members are STYLE/CODE.png, 64 pixels square and on white,
STYLE/CODE.cls, the number of its category in CATEGORIES, and STYLE/CODE.json:

- "label", the name that emojibase-data gives it;
- "captions": the label, the short names of emoji-datasource, the tags of emojibase-data as one
  phrase, and the keywords of emojilib as one; what is there twice stands once;
- "category" and "style".

Left out are skin tones, meanings that one of the styles or packages lacks, and meanings that a
style draws alike, as are the flags of Norway and Bouvet Island: no caption could tell them apart.

Licenses, as the packages state them: emoji data, emojibase-data and emojilib MIT; Google's images
Apache 2.0; Twitter's CC BY 4.0; Apple's are copyrighted by Apple and not licensed for commercial
use; Facebook's have no clear license. --styles=google,twitter takes those that are free.

The same packages and the same Pillow give the same bytes. Nothing is downloaded here. OUT is made
in a hidden folder beside it and renamed when it is whole.
"""

import argparse
import collections
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import sys
import tarfile
from typing import NamedTuple

from PIL import Image

STYLES = ("apple", "facebook", "google", "twitter")
CATEGORIES = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Symbols",
    "Flags",
)
SWATCHES = "Component"  # the category of skin tones by themselves
PARTS = 10  # of which the first is for testing


class Meaning(NamedTuple):
    """An emoji, whoever draws it.

    Attributes:
        code: its code points, "1f3f4-200d-2620-fe0f", as its image files are called.
        category: number in CATEGORIES.
        captions: list of str, the label first.
    """

    code: str
    category: int
    captions: list


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", type=pathlib.Path, help="folder node_modules")
    parser.add_argument("out", type=pathlib.Path, help="folder to make")
    parser.add_argument("--styles", default=",".join(STYLES), help="which, with commas between")
    parser.add_argument("--held_out", default="twitter", help="the style that is not in train")
    options = parser.parse_args()
    try:
        check_free(options.out)
        styles = checked_styles(options.styles.split(","), options.held_out)
        meanings, lacking = read_meanings(options.packages, styles)
        drawings = read_drawings(options.packages, styles, meanings)
        told_apart = drawn_apart(meanings, drawings)
        shards = write(options.out, told_apart, drawings, options.held_out)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped: nothing was made")
    print(summary(options.out, shards, told_apart, lacking, len(meanings) - len(told_apart)))


def check_free(out):
    """Raises FileExistsError if a path holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists: remove it, or give another folder")


def checked_styles(styles, held_out):
    """The styles, sorted.

    Raises:
        ValueError: there is no such style, or none is left to train on.
    """
    unknown = sorted({*styles, held_out} - {*STYLES})
    if unknown:
        raise ValueError(f"there is no style '{unknown[0]}': choose of {', '.join(STYLES)}")
    if held_out not in styles or len(set(styles)) < 2:
        raise ValueError(
            f"--styles is {','.join(styles)} and --held_out {held_out}: give two styles or more, "
            "among them the one to hold out"
        )
    return sorted(set(styles))


def read_meanings(packages, styles):
    """(list of `Meaning` in Unicode's order, how many were left out for what they lack)."""
    table = {style: _emoji_of(packages, style) for style in styles}
    # The selector of a colored drawing is there in some packages and lacks in others.
    named = {
        _bare(entry["hexcode"]): entry
        for entry in _json(packages, "emojibase-data", "en", "data.json")
    }
    keywords = {
        _bare("-".join(f"{ord(letter):X}" for letter in emoji)): words
        for emoji, words in _json(packages, "emojilib", "dist", "emoji-en-US.json").items()
    }
    everywhere = set.intersection(*({*of_style} for of_style in table.values()))
    everywhere = {code for code in everywhere if {_bare(code)} <= named.keys() & keywords.keys()}
    lacking = len({code for of_style in table.values() for code in of_style} - everywhere)
    meanings = []
    for code, entry in table[styles[0]].items():
        if code in everywhere:
            name = named[_bare(code)]
            words = name.get("tags", []), keywords[_bare(code)]
            several = captions(name["label"], entry["short_names"], *words)
            file, category = entry["image"].removesuffix(".png"), _category(entry["category"])
            meanings.append(Meaning(file, category, several))
    return meanings, lacking


def captions(label, short_names, tags, keywords):
    """What an emoji may be called, the label first: list of str, each once.

    >>> captions("red heart", ["heart"], ["heart", "love"], ["red_heart", "love", "valentines"])
    ['red heart', 'heart', 'heart, love', 'red heart, love, valentines']
    """
    phrases = (", ".join(map(_spoken, words)) for words in (tags, keywords))
    different = {}
    for text in (label, *map(_spoken, short_names), *phrases):
        if text.strip():
            different.setdefault(text.strip().casefold(), text.strip())
    return list(different.values())


def read_drawings(packages, styles, meanings):
    """{style: {code: the bytes of a PNG file, RGB on white}}."""
    drawings = {}
    for style in styles:
        images = packages / f"emoji-datasource-{style}" / "img" / style / "64"
        drawings[style] = {code: _on_white(images / f"{code}.png") for code, *_ in meanings}
    return drawings


def drawn_apart(meanings, drawings):
    """The meanings that look different from all others in every style."""
    times = {style: collections.Counter(images.values()) for style, images in drawings.items()}
    return [
        meaning
        for meaning in meanings
        if all(times[style][drawings[style][meaning.code]] == 1 for style in drawings)
    ]


def part_of(code):
    """The part of a meaning, in [0, PARTS)."""
    return int(hashlib.sha256(code.encode()).hexdigest(), 16) % PARTS


def write(out, meanings, drawings, held_out):
    """Makes the folder `out`; gives {name of shard: number of its images}.

    Raises:
        ValueError: there is none to train on, or none to test.
    """
    shards = collections.defaultdict(list)
    for style in drawings:
        for meaning in meanings:
            part = part_of(meaning.code)
            split = ("test" if part == 0 else "train") if style != held_out else "style"
            if (split, part) != ("style", 0):
                shards[f"{split}-{style}-{part}.tar"].append((style, meaning))
    if {name.partition("-")[0] for name in shards} != {"train", "test", "style"}:
        raise ValueError(f"the packages share {len(meanings)} emoji: too few to train and test")
    out = out.absolute()
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        for name, content in shards.items():
            with tarfile.open(unfinished / name, "w", format=tarfile.USTAR_FORMAT) as tar:
                for style, meaning in content:
                    _add(tar, style, meaning, drawings[style][meaning.code])
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return {name: len(content) for name, content in shards.items()}


def summary(out, shards, meanings, lacking, alike):
    """What was made, and how it is read."""
    counts = collections.Counter()
    for name, count in shards.items():
        counts[name.partition("-")[0]] += count
    texts = sum(len(meaning.captions) for meaning in meanings)
    return "\n".join(
        [
            f"{out} holds {len(meanings):,} meanings with {texts:,} captions; images: "
            + ", ".join(f"{split} {counts[split]:,}" for split in ("train", "test", "style")),
            f"Left out: {lacking:,} emoji that not all packages have, {alike:,} drawn alike",
            f'sogclr_tf.TarSource("{out}/train-*.tar", text="json/captions") reads them',
        ]
    )


def _emoji_of(packages, style):
    """{code points: entry} of the emoji that a style draws, in Unicode's order."""
    entries = _json(packages, f"emoji-datasource-{style}", "emoji.json")
    return {
        entry["unified"]: entry
        for entry in sorted(entries, key=lambda entry: entry["sort_order"])
        if entry[f"has_img_{style}"] and entry["category"] != SWATCHES
    }


def _json(packages, package, *path):
    """What a file of a package holds.

    Raises:
        FileNotFoundError: there is no such file.
    """
    file = packages.joinpath(package, *path)
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no file {file}: give the folder node_modules after npm install {package}"
        )
    return json.loads(file.read_text(encoding="utf-8"))


def _category(name):
    if name not in CATEGORIES:
        raise ValueError(f"emoji-datasource has a category '{name}': install version 16.0.0")
    return CATEGORIES.index(name)


def _on_white(path):
    with Image.open(path) as image:
        drawing = image.convert("RGBA")
    white = Image.new("RGBA", drawing.size, "white")
    buffer = io.BytesIO()
    Image.alpha_composite(white, drawing).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _add(tar, style, meaning, drawing):
    """An example's members. Owner and time are the same for all, whoever makes them."""
    told = {
        "label": meaning.captions[0],
        "captions": meaning.captions,
        "category": CATEGORIES[meaning.category],
        "style": style,
    }
    text = json.dumps(told, ensure_ascii=False)
    for suffix, data in (("png", drawing), ("json", text), ("cls", str(meaning.category))):
        data = data if isinstance(data, bytes) else data.encode()
        member = tarfile.TarInfo(f"{style}/{meaning.code}.{suffix}")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


def _bare(code):
    return code.replace("-FE0F", "")


def _spoken(name):
    """A short name as it is said: "flag-eg" is "flag eg", and "-1" stays."""
    return re.sub(r"(?<=\w)[-_](?=\w)|_", " ", name)


if __name__ == "__main__":
    main()
