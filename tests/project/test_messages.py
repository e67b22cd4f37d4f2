"""The messages that the documents list under "Errors" are those that the code raises."""

import ast
import re

import pytest
from support.paths import ROOT

GAP = "\0"


def texts():
    """All strings of the package, of f-strings with a gap in the place of a value."""
    for path in (ROOT / "sogclr_tf").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (getattr(part, "value", None) for part in node.values)
                yield GAP.join(part if isinstance(part, str) else "" for part in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def listed():
    """(page, message) of every row of a table of errors."""
    for path in sorted((ROOT / "docs").glob("*.md")):
        for section in re.findall(r"(?ms)^##+ Errors.*?(?=^##|\Z)", path.read_text()):
            for message in re.findall(r"(?m)^\| `(.+?)` \|", section):
                yield path.stem, message


def pattern(message):
    """Matches texts with the parts of a message between its "..." in their order."""
    parts = (re.escape(part) for part in re.split(r"\.\.\.+", message))
    return ".*".join(parts)


@pytest.fixture(scope="module")
def package():
    return "\n".join(text.replace(GAP, "").replace("\n", " ") for text in texts())


def test_most_pages_list_messages():
    assert len({page for page, _ in listed()}) >= 9


@pytest.mark.parametrize(("page", "message"), listed())
def test_listed_messages_are_raised(package, page, message):
    assert re.search(pattern(message), package), f"{page}: {message}"
