"""Hooks of mkdocs: the pages at the repository's top as pages of the site, and links between both.

    mkdocs serve

README.md is the site's home. On GitHub a link leads from docs/ to ../CONTRIBUTING.md, and from
README.md to docs/data.md; here all pages lie in one folder. What is no page, such as a config, is
shown by its name.
"""

import pathlib
import posixpath
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parents[1]
# {file at the top: page of the site}
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
# Fenced, within a line, or indented.
CODE = re.compile(r"(```.*?```|`[^`]*`|^ {4}[^\n]*$)", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


def on_files(files, config):
    """Adds the pages at the top."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns the links of a page, which are those of GitHub, into links of the site."""
    del config
    own = page.file.src_uri
    if own.startswith("study/"):
        page.meta["search"] = {"exclude": True}  # Figures alone would stand before the guides.
    if own.endswith(".ipynb"):
        return markdown
    path = {there: name for name, there in PAGES.items()}.get(own, f"docs/{own}")

    def replaced(match):
        mark, text, target, anchor = match.groups(default="")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if not (ROOT / there).exists():
            raise FileNotFoundError(f"{path} links to {target}, which does not exist")
        name = PAGES.get(there, there.removeprefix("docs/"))
        file = files.get_file_from_path(name)
        if name == there or not file or file.inclusion.is_excluded():
            return text
        return f"{mark}[{text}]({posixpath.relpath(name, posixpath.dirname(own) or '.')}{anchor})"

    return outside_code(markdown, replaced)


def on_page_content(html, page, config, files):
    """Turns the links of a notebook, which mkdocs does not look at, into links of the site."""
    del config, files
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return re.sub(r'href="(\w+)\.md(#[^"]*)?"', r'href="../\1/\2"', html)


def outside_code(markdown, replaced):
    """The text with its links replaced and the "<" of <z, z+>, which is none of HTML, escaped.

    A text with code in brackets is a link too: code is put back after.
    """
    kept = []

    def keep(match):
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    text = re.sub(r"<(?=\w+, )", "&lt;", LINK.sub(replaced, CODE.sub(keep, markdown)))
    return re.sub("\0(\\d+)\0", lambda match: kept[int(match[1])], text)
