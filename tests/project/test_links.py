"""Links between the repository's pages, also to headings, lead to what exists on GitHub."""

import json
import re

import pytest
from support.paths import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "docs" / "quickstart.ipynb"]


def shown(page):
    """The text of a page: of a notebook, of its cells of text."""
    if page.suffix == ".md":
        return page.read_text()
    cells = json.loads(page.read_text())["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def without_code(text):
    return re.sub(r"(?ms)^```.*?^```", "", text)


def anchors(page):
    """The anchors of a page's headings, by GitHub's rule."""
    found = []
    for heading in re.findall(r"(?m)^#+ (.+)$", without_code(shown(page))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]*?)(?:#([^)\s]*))?\)", without_code(shown(page)))
    for target, anchor in links:
        if target.startswith("http"):
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there), f"{target}#{anchor}"
