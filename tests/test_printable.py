"""Text of any origin as one line."""

import os

import pytest

from sogclr_tf.printable import check_printable, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, é, 漢字, 👩‍💻, a\\b", "plain, é, 漢字, 👩‍💻, a\\b"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x1b[31m\x00\x7f", r"\x1b[31m\x00\x7f"),
        (os.fsdecode(b"caf\xe9\xff"), r"caf\xe9\xff"),
        ("\u0085\u2028\ud800", r"\u0085\u2028\ud800"),
        (12, "12"),
    ],
)
def test_printable(text, shown):
    found = printable(text)
    assert found == shown
    assert found.encode().decode() == found
    assert len(found.splitlines()) == 1
    assert printable(found) == found


def test_check():
    check_printable("é", "a name", "change it")
    line = r"^a name is 'a\\nb', which is no UTF-8 or has control characters: change it$"
    with pytest.raises(ValueError, match=line):
        check_printable("a\nb", "a name", "change it")
