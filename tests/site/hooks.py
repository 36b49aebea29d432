"""Hooks of MkDocs: anchors, and links that leave docs/."""

import re
from pathlib import PurePosixPath
from posixpath import normpath

import links


def slug(text, separator):
    """The anchor of a heading, as GitHub makes it."""
    return links.slug(text)


def on_page_markdown(markdown, page, config, files):
    """Links out of docs/ lead into the repository."""
    folder = PurePosixPath("docs") / PurePosixPath(page.file.src_uri).parent

    def elsewhere(found):
        target = normpath(str(folder / found[1]))
        if target.startswith("docs/") and not target.startswith("docs/api"):
            return found[0]
        return f"]({config.repo_url.rstrip('/')}/blob/main/{target}{found[2] or ''})"

    return re.sub(r"\]\((\.{1,2}/[^)#\s]*|api[^)#\s]*)(#[^)\s]*)?\)", elsewhere, markdown)
