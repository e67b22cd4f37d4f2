"""The section of a report that shows which images and texts found each other."""

import dataclasses
from collections.abc import Sequence

from sogclr_tf.report import embedded_images
from sogclr_tf.report.material import Example
from sogclr_tf.report.page import escape, paragraph


@dataclasses.dataclass(frozen=True)
class Retrieved:
    """What a few held-out texts and images found.

    Attributes:
        images: of (text: str, [nearest image: Example, ...], [whether it is the text's own]).
        texts: of (image: Example, [nearest text: str, ...], [whether it is the image's own]).
    """

    images: Sequence[tuple[str, Sequence[Example], Sequence[bool]]] = ()
    texts: Sequence[tuple[Example, Sequence[str], Sequence[bool]]] = ()


STYLE = """
.asked { font-size: 13px; font-weight: 600; align-self: center; overflow-wrap: anywhere; }
.answers { margin: 0; padding-left: 20px; font-size: 13px; overflow-wrap: anywhere; }
.answers .same { color: #2b7d48; font-weight: 600; }
"""


def section(retrieved: Retrieved | None) -> str:
    """HTML of both ways; empty where nothing was asked."""
    if retrieved is None:
        return ""
    parts = []
    if retrieved.images:
        rows = "".join(_images_row(*row) for row in retrieved.images)
        parts.append(f'{_sentence(retrieved.images)}<div class="rows">{rows}</div>\n')
    if retrieved.texts:
        rows = "".join(_texts_row(*row) for row in retrieved.texts)
        parts.append(f'<h3>Texts for images</h3><div class="rows">{rows}</div>\n')
    return "".join(parts)


def _sentence(rows: Sequence) -> str:
    found = sum(any(own) for _, _, own in rows)
    return paragraph(
        f"Held-out texts at the left, and beside each the images whose embeddings are nearest; its "
        f"own is framed in green. {found} of {len(rows)} texts have theirs among those shown."
    )


def _images_row(text: str, examples: Sequence[Example], own: Sequence[bool]) -> str:
    columns = (
        f"grid-template-columns:minmax(0,120px) repeat({max(1, len(examples))},minmax(0,84px))"
    )
    shown = "".join(
        f'<figure class="example {"same" if mine else ""}">{embedded_images.image(example.image)}'
        f'<p title="{escape(example.caption)}">{escape(example.caption)}</p></figure>'
        for example, mine in zip(examples, own, strict=True)
    )
    return f'<div class="row" style="{columns}"><p class="asked">{escape(text)}</p>{shown}</div>\n'


def _texts_row(image: Example, texts: Sequence[str], own: Sequence[bool]) -> str:
    items = "".join(
        f"<li{' class=same' if mine else ''}>{escape(text)}</li>"
        for text, mine in zip(texts, own, strict=True)
    )
    return (
        '<div class="row" style="grid-template-columns:minmax(0,84px) 1fr">'
        f'<figure class="example">{embedded_images.image(image.image)}</figure>'
        f'<ol class="answers">{items}</ol></div>\n'
    )
