"""Text of any origin as one line that every terminal, file and picture can hold."""

import re

# Control characters, line and paragraph separators, and what is no character of UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Python keeps a byte of a file's name that is no UTF-8 as this number and the byte.
_BYTE = 0xDC00


def printable(text: object) -> str:
    r"""`str(text)` with escapes, as of Python, in place of what cannot be shown or written.

    A file's name may hold any byte: the line break in it is shown as \n, a byte that is no UTF-8
    as \xff. What is printable already stays as it is, backslashes too.
    """
    return _UNPRINTABLE.sub(_escape, str(text))


def check_printable(text: str, what: str, remedy: str) -> None:
    """Raises ValueError unless a text is printable; `what` it is, and the `remedy`, for people."""
    if printable(text) != text:
        raise ValueError(
            f"{what} is '{printable(text)}', which is no UTF-8 or has control characters: {remedy}"
        )


def _escape(match: re.Match) -> str:
    code = ord(match[0])
    if _BYTE + 0x80 <= code <= _BYTE + 0xFF:
        return f"\\x{code - _BYTE:02x}"
    # Above ASCII \x would look like a byte of the name.
    return f"\\u{code:04x}" if code > 0x7F else repr(match[0])[1:-1]
