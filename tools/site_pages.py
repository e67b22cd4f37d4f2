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
# Code is left as it is; elsewhere <z, z+> would be taken for HTML.
ANGLE = re.compile(r"(```.*?```|`[^`]*`|^ {4}[^\n]*$)|<(?=\w+, )", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)")


def on_files(files, config):
    """Adds the pages at the top."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turns the links of a page, which are those of GitHub, into links of the site."""
    del config
    path = {there: name for name, there in PAGES.items()}.get(
        page.file.src_uri, f"docs/{page.file.src_uri}"
    )

    def replaced(match):
        mark, text, target, anchor = match.groups(default="")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if not (ROOT / there).exists():
            raise FileNotFoundError(f"{path} links to {target}, which does not exist")
        name = PAGES.get(there, there.removeprefix("docs/"))
        if name == there or not files.get_file_from_path(name):
            return text
        relative = posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or ".")
        return f"{mark}[{text}]({relative}{anchor})"

    markdown = ANGLE.sub(lambda match: match[1] or "&lt;", markdown)
    return LINK.sub(replaced, markdown)
