"""Looks at patch files, and at what libpd prints of them; caller threads, no libpd."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from audiostream.checks import shown
from audiostream.errors import FormatError, PatchError

__all__ = ("Seen", "check", "look_into", "missing_objects")

# A statement, and the comma or semicolon (not escaped) or end of file that ends it.
_STATEMENT = re.compile(rb"((?:[^;,\\]+|\\.)*)([;,]|\\?\Z)", re.DOTALL)
_BOXES = (b"obj", b"msg", b"text", b"floatatom", b"symbolatom", b"listbox")
_PLACED = (b"floatatom", b"symbolatom", b"listbox")
_FAILED = re.compile(r"couldn't create$")
_LEVEL = re.compile(r"^(?:verbose\(\d+\)|error): ")


def check(patchfile: str | os.PathLike[str]) -> Path:
    """Return the file's absolute path, if it is a patch that can be read.

    libpd is not asked: it says little of what is wrong, and some of it crashes it.

    Raises
    ------
    PatchError
        If it is not.
    FormatError
        If `patchfile` is not a path.
    """
    try:
        os.fsencode(patchfile)
    except (TypeError, UnicodeError):
        raise FormatError(f'patchfile={shown(patchfile)} is no path; try "name.pd"') from None
    path = Path(os.path.abspath(os.fsdecode(patchfile)))  # noqa: PTH100 - keeps symlinks
    try:
        text = path.read_bytes()
    except IsADirectoryError as error:
        raise PatchError(f"{path} is a folder; name the .pd file in it") from error
    except FileNotFoundError as error:
        raise PatchError(
            f"there is no patch {path}; a relative name is looked for in the current folder"
        ) from error
    except (OSError, ValueError) as error:
        raise PatchError(f"the patch {path} cannot be read: {error}") from error
    if not text.lstrip().startswith((b"#N canvas", b"#N struct")):
        raise PatchError(
            f'{path} is not a Pure Data patch: it does not begin with "#N canvas"; '
            "save it again with Pd"
        )
    _check_statements(path, text)
    return path


class Seen(NamedTuple):
    """What a patch and the abstractions beside it that it names hold.

    Parameters
    ----------
    dac : bool
        One of them says ``dac~``.
    utf8 : bool
        All of them are UTF-8, as what Pd saves has been since 0.43.
    """

    dac: bool
    utf8: bool


def look_into(path: Path) -> Seen:
    """Read the patch, and the abstractions beside it that it names.

    Raises
    ------
    PatchError
        If one of them is damaged.
    """
    dac, utf8 = False, True
    seen: set[Path] = set()
    left = [path]
    while left:
        file = left.pop()
        if file in seen:
            continue
        seen.add(file)
        try:
            text = file.read_bytes()
        except OSError:
            continue  # libpd will say what it misses
        _check_statements(file, text)
        dac = dac or b"dac~" in text
        utf8 = utf8 and _is_utf8(text)
        # Every word, since [clone] and the like name abstractions in their arguments.
        named = {
            word
            for words in _statements(text)
            if words[:2] == [b"#X", b"obj"]
            for word in words[4:]
        }
        left += filter(None, (_beside(path.parent, word) for word in named))
    return Seen(dac, utf8)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _statements(text: bytes) -> Iterator[list[bytes]]:
    """Yield the words of each statement, as Pd's loader takes them apart."""
    target: list[bytes] = []
    for body, end in _STATEMENT.findall(text):
        words = target + body.split()
        if len(words) > len(target):
            yield words
        # After a comma another message goes to the same target.
        target = words[:1] if end == b"," else []


def _check_statements(path: Path, text: bytes) -> None:
    # What crashed libpd (0.55 and 0.56) among 12,000 patches with statements left out,
    # cut short, doubled or moved: these three things and nothing else.
    boxes: list[int] = []  # in each canvas that is not ended yet
    for words in _statements(text):
        damage = None
        if words[:2] == [b"#N", b"canvas"]:
            boxes.append(0)
        elif words[0] != b"#X" or len(words) < 2 or not boxes:
            continue
        elif words[1] == b"restore":
            boxes.pop()
            if boxes:
                boxes[-1] += 1
            else:
                damage = "it ends a subpatch that it did not begin"
        elif words[1] == b"connect" and not boxes[-1]:
            damage = "it connects objects where it has none"
        elif words[1] in _PLACED and len(words) < 4:
            damage = "it does not say where an object lies"
        elif words[1] in _BOXES and len(words) >= 4:
            boxes[-1] += 1
        if damage is not None:
            raise PatchError(
                f"{path} is damaged: {damage}, which would crash libpd "
                f"({b' '.join(words).decode('utf-8', 'replace')}); save it again with Pd"
            )


def _beside(folder: Path, word: bytes) -> Path | None:
    name = word.decode("utf-8", "surrogateescape")
    if "\0" in name or len(name) > 200:
        return None
    path = folder / f"{name}.pd"
    return path if path.is_file() else None


def missing_objects(lines: Iterable[str]) -> list[str]:
    """Return the objects that libpd could not create, each once, in its order.

    libpd prints what was asked for as one line, then "... couldn't create".
    """
    missing: dict[str, None] = {}
    before = ""
    for line in lines:
        if _FAILED.search(line) and before:
            missing[before] = None
            before = ""
        else:
            before = _LEVEL.sub("", line).strip()
    return list(missing)
