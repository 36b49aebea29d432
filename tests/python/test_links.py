"""The link check of the documentation (tests/site/links.py)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "site"))

import links  # noqa: E402


@pytest.fixture
def site(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text("nav:\n  - index.md\n  - How-to:\n      - Two: two.md\n")
    (tmp_path / "docs/index.md").write_text("# A\n\n[to two](two.md#the-end)\n")
    (tmp_path / "docs/two.md").write_text("# Two\n\n## The end\n\n```sh\n[no link](in-code.md)\n```\n")
    return tmp_path


def test_a_sound_site_has_no_complaints(site):
    assert links.complaints(site) == []


def test_missing_files_and_headings_are_named_with_their_lines(site):
    (site / "README.md").write_text("# R\n\n[over\ntwo lines](docs/gone.md), [x](docs/two.md#nowhere)\n[y](https://a.b)\n")
    assert links.complaints(site) == [
        "README.md:4: docs/gone.md: no such file",
        "README.md:4: docs/two.md#nowhere: no such heading",
    ]


def test_chapters_are_listed(site):
    (site / "docs/three.md").write_text("# Three\n")
    (site / "docs/two.md").unlink()
    assert links.complaints(site) == [
        "docs/index.md:3: two.md#the-end: no such file",
        "mkdocs.yml: docs/three.md is not listed",
        "mkdocs.yml: docs/two.md is not there",
    ]


def test_anchors_are_those_of_github():
    text = "# `sepconv eval`: two, or more!\n## Same\n## Same\n## [A link](x.md) of DW->PW\n"
    assert links.anchors(text) == {"sepconv-eval-two-or-more", "same", "same-1", "a-link-of-dw-pw"}
