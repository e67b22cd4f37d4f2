"""What a page must be: balanced, without network, and without complaints in a browser."""

import html.parser
import shutil
import subprocess

import pytest

_VOID = {"meta", "img", "link", "br", "hr", "input"}
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--window-size=1200,3000",
)


class Page(html.parser.HTMLParser):
    """A parsed page; a tag that is closed out of turn, or never, fails the test.

    Attributes:
        tags: [(name, {attribute: value})] in order.
        texts: what stands between tags and is not blank, in order.
    """

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data)

    def count(self, name, **attributes):
        """How many tags have the name and attributes; `class_` stands for one class of several."""
        wanted = attributes.pop("class_", None)
        return sum(
            tag == name
            and attributes.items() <= found.items()
            and (wanted is None or wanted in (found.get("class") or "").split())
            for tag, found in self.tags
        )


def read_page(path):
    """The `Page` in a file, if it needs nothing from elsewhere and runs nothing."""
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "url(" not in text
    assert "@import" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    return page


def complaints(path, folder):
    """The console's lines while headless Chromium draws a page; the picture is `folder`/drawn.png.

    Skips the test where there is no Chromium.
    """
    browser = next(filter(None, map(shutil.which, _NAMES)), None)
    if browser is None:
        pytest.skip("no chromium on the PATH: apt-get install chromium")
    drawn = folder / "drawn.png"
    process = subprocess.run(
        [browser, *_QUIET, f"--user-data-dir={folder}/browser", f"--screenshot={drawn}", str(path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert drawn.exists(), process.stderr
    return [line for line in process.stderr.splitlines() if "CONSOLE" in line]
