"""The documentation site builds without a warning; its reference holds every public name."""

import json
import os
import re
import subprocess
import sys
import urllib.parse

import pytest
from support.paths import ROOT

import sogclr_tf

REFERENCE = ROOT / "docs" / "reference"


def test_every_public_name_is_in_the_reference_once():
    pages = [path.read_text() for path in sorted(REFERENCE.glob("*.md"))]
    names = [name for page in pages for name in re.findall(r"(?m)^::: sogclr_tf\.(\w+)$", page)]
    assert sorted(names) == sorted(sogclr_tf.__all__)


def test_the_list_of_the_reference_is_that_of_its_pages():
    listed = (REFERENCE / "index.md").read_text()
    rows = dict(re.findall(r"(?m)^\| \[.*?\]\((\w+\.md)\) \| (.*) \|$", listed))
    assert rows.keys() == {path.name for path in REFERENCE.glob("*.md")} - {"index.md"}
    for page, names in rows.items():
        there = re.findall(r"(?m)^::: sogclr_tf\.(\w+)$", (REFERENCE / page).read_text())
        assert re.findall(r"`(\w+)`", names) == there


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    process = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "WARNING" not in process.stderr
    return folder


@pytest.mark.slow(reason="the site is built")
def test_every_public_name_has_its_place(site):
    pages = "".join(path.read_text() for path in (site / "reference").rglob("index.html"))
    for name in sogclr_tf.__all__:
        assert pages.count(f'<h2 id="sogclr_tf.{name}"') == 1, name


@pytest.mark.slow(reason="the site is built")
def test_formulas_and_ranges_are_shown_as_they_are(site):
    """Neither is <z, z+> taken for HTML, nor "> 0" for a quotation."""
    assert "&lt;z, z-&gt;" in (site / "method" / "index.html").read_text()
    for path in (site / "reference").rglob("index.html"):
        assert "<blockquote>" not in path.read_text(), path


@pytest.mark.slow(reason="the site is built")
@pytest.mark.parametrize("words", ["u-table", "resume", "TF Serving", "GlobalContrastiveLoss"])
def test_is_found_by(site, words):
    found = json.loads((site / "search" / "search_index.json").read_text())["docs"]
    assert any(words.lower() in f"{entry['title']} {entry['text']}".lower() for entry in found)


def dead_links(page):
    """The links of a built page to files or headings that the site does not have."""
    for link in set(re.findall(r'(?:href|src)="([^"]+)"', page.read_text())):
        address = urllib.parse.urlsplit(link)
        if address.scheme or address.netloc:
            continue
        there = (page.parent / urllib.parse.unquote(address.path)).resolve()
        there = page if not address.path else there / "index.html" if there.is_dir() else there
        anchor = urllib.parse.unquote(address.fragment)
        if not there.exists() or (anchor and f'id="{anchor}"' not in there.read_text()):
            yield link


@pytest.mark.slow(reason="the site is built")
def test_links_of_the_built_pages_lead_somewhere(site):
    """Also those of the notebook and of what hooks write, at which mkdocs does not look."""
    for page in site.rglob("index.html"):
        assert not list(dead_links(page)), page.relative_to(site)
