"""A small node_modules with emoji, laid out as the packages of npm are."""

import colorsys
import json

from PIL import Image

STYLES = ("apple", "facebook", "google", "twitter")
CATEGORIES = ("Smileys & Emotion", "Flags")


def write_packages(folder, count, change=lambda _: None):
    """Packages of `count` emoji, 8 pixels square; gives their folder.

    Emoji i is U+(1F400 + i) with a selector that the names lack, called "thing i", and a disc of a
    color of its own, of another shade in each style, with nothing around.

    Args:
        change: function that may change the list of entries of emoji.json.
    """
    entries = [_entry(number) for number in range(count)]
    change(entries)
    names = [
        {"hexcode": f"{0x1F400 + number:X}", "label": f"thing {number}", "tags": ["thing", "round"]}
        for number in range(count)
    ]
    keywords = {chr(0x1F400 + number): [f"thing_{number}", "disc"] for number in range(count)}
    _write(folder / "emojibase-data" / "en" / "data.json", names)
    _write(folder / "emojilib" / "dist" / "emoji-en-US.json", keywords)
    for place, style in enumerate(STYLES):
        package = folder / f"emoji-datasource-{style}"
        _write(package / "emoji.json", entries)
        images = package / "img" / style / "64"
        images.mkdir(parents=True)
        for number, entry in enumerate(entries):
            if entry[f"has_img_{style}"]:
                shade = colorsys.hsv_to_rgb(number / count, 1, 1 - place / 8)
                disc(shade).save(images / entry["image"])
    return folder


def disc(color):
    """A picture whose rim is black and transparent."""
    image = Image.new("RGBA", (8, 8))
    image.paste((*(round(255 * part) for part in color), 255), (2, 2, 6, 6))
    return image


def _entry(number):
    code = f"{0x1F400 + number:X}-FE0F"
    return {
        "unified": code,
        "image": f"{code.lower()}.png",
        "short_names": [f"thing_{number}", f"no-{number}"],
        "category": CATEGORIES[number % 2],
        "sort_order": number,
        **{f"has_img_{style}": True for style in STYLES},
    }


def _write(path, content):
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content), encoding="utf-8")
