"""The section of a report that shows what texts and images found."""

import numpy as np

from sogclr_tf.report.material import Example
from sogclr_tf.report.retrieval import Retrieved, section

IMAGE = np.zeros((4, 4, 3), np.uint8)


def test_own_answers_are_marked_and_counted():
    images = [Example(IMAGE, "a dog"), Example(IMAGE, "a <cat>")]
    html = section(
        Retrieved(
            images=[("a dog & co", images, [False, True]), ("none", images, [False, False])],
            texts=[(images[0], ["a dog", "a house"], [True, False])],
        )
    )
    assert "1 of 2 texts have theirs" in html
    assert html.count('class="example same"') == 1
    assert html.count("<li class=same>a dog</li>") == 1
    assert "a dog &amp; co" in html
    assert "a &lt;cat&gt;" in html


def test_nothing_asked_is_no_section():
    assert section(None) == section(Retrieved()) == ""
