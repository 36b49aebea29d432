#!/usr/bin/env python3
"""Checks the links of the documentation: files, anchors, and the pages that the site lists.

    tests/site/links.py        names every broken link, and exits with 1 where there is one

Addresses of other sites are not asked.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$")
FENCE = re.compile(r"^\s*(```|~~~)")


def slug(heading, taken=None):
    """The anchor that GitHub makes of a heading: `taken` counts those of the page."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    text = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
    if taken is None:
        return text
    count = taken.get(text, 0)
    taken[text] = count + 1
    return f"{text}-{count}" if count else text


def prose(text):
    """The lines outside of code, with their numbers."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            yield number, line


def anchors(text):
    taken = {}
    headings = (HEADING.match(line) for _, line in prose(text))
    return {slug(heading[1], taken) for heading in headings if heading}


def links(text):
    """(line, target); a link's text may go over the end of a line."""
    lines = list(prose(text))
    joined = "\n".join(re.sub(r"`[^`]*`", "", line) for _, line in lines)
    for found in LINK.finditer(joined):
        yield lines[joined.count("\n", 0, found.start())][0], found[1]


def pages(root=ROOT):
    """README.md of all folders and the documentation."""
    found = {root / "README.md", *root.glob("docs/**/*.md"), *root.glob("models/*.md"), *root.glob("tests/*/README.md")}
    return sorted(page for page in found if page.is_file())


def broken(page):
    """(line, link, reason) of the links that lead nowhere."""
    text = page.read_text(encoding="utf-8")
    for number, link in links(text):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield number, link, "no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield number, link, "no such heading"


def unlisted(root=ROOT):
    """Chapters that the site's table of contents lacks, and entries without a file."""
    docs = root / "docs"
    listed = set(re.findall(r"^\s+-\s+(?:[^:\n]+:\s+)?([\w/-]+\.md)\s*$", (root / "mkdocs.yml").read_text(), re.M))
    there = {str(page.relative_to(docs)) for page in docs.glob("*.md")}
    return sorted(there - listed), sorted(name for name in listed if not (docs / name).is_file())


def complaints(root=ROOT):
    found = [
        f"{page.relative_to(root)}:{number}: {link}: {why}" for page in pages(root) for number, link, why in broken(page)
    ]
    missing, gone = unlisted(root)
    found += [f"mkdocs.yml: docs/{name} is not listed" for name in missing]
    return found + [f"mkdocs.yml: docs/{name} is not there" for name in gone]


if __name__ == "__main__":
    found = complaints()
    print("\n".join(found) or f"{len(pages())} pages, every link leads somewhere")
    sys.exit(bool(found))
