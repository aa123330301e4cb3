"""What is seen in patch files, without libpd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from audiostream.errors import FormatError, PatchError
from audiostream.libpd.patchfile import check, look_into
from tests.libpd.support import PATCHES


@pytest.mark.parametrize(
    ("name", "dac"),
    [("sine", True), ("inside", True), ("silent", False), ("voice", False), ("beside", True)],
)
def test_dac(name: str, dac: bool) -> None:
    assert look_into(PATCHES / f"{name}.pd") == (dac, True)


def test_dac_by_way_of_clone_and_round_in_circles(tmp_path: Path) -> None:
    (tmp_path / "a.pd").write_text(
        "#N canvas 0 0 1 1 12;\n#X obj 1 1 clone\nb 16 \\; x;\n", encoding="ascii"
    )
    (tmp_path / "b.pd").write_text("#N canvas 0 0 1 1 12;\n#X obj 1 1 a;\n", encoding="ascii")
    assert not look_into(tmp_path / "a.pd").dac
    with (tmp_path / "b.pd").open("a", encoding="ascii") as file:
        file.write(f"#X obj 1 1 dac~ 1;\n#X obj 1 1 {'x' * 300} a\0b;\n")
    assert look_into(tmp_path / "a.pd").dac


def test_words_that_are_no_file_names(tmp_path: Path) -> None:
    path = tmp_path / "a.pd"
    path.write_bytes(b"#N canvas;\n#X obj 1 1 a\0b " + b"x" * 300 + b" \xff;\n")
    assert look_into(path) == (False, False)


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        ("#X connect 0 0 1 0;", "connects objects where it has none"),
        ("#X obj;\n#X connect 0 0 1 0", "connects objects"),
        ("#X obj, connect 0 0 1 0;", "connects objects"),
        ("#N canvas 0 0 1 1 sub 0;\n#X connect 0 0 1 0;", "connects objects"),
        ("#X obj 1 1 f;\n#X restore 1 1 pd;", "ends a subpatch that it did not begin"),
        ("#X floatatom 10;", "where an object lies"),
        ("#X listbox", "where an object lies"),
    ],
)
def test_what_would_crash_libpd_is_refused(tmp_path: Path, statements: str, says: str) -> None:
    path = tmp_path / "a.pd"
    path.write_text(f"#N canvas 0 0 1 1 12;\n{statements}\n", encoding="ascii")
    with pytest.raises(PatchError, match=f"damaged: it .*{says}"):
        check(path)
    user = tmp_path / "user.pd"
    user.write_text("#N canvas 0 0 1 1 12;\n#X obj 1 1 a;\n", encoding="ascii")
    with pytest.raises(PatchError, match=r"a\.pd is damaged"):
        look_into(check(user))


def test_what_pd_writes_is_not_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pd"
    path.write_text(
        "#N struct point float x float y;\n"
        "#N canvas 0 0 450 300 12;\n#X declare -path other;\n"
        "#X floatatom 10 10 5 0 0 0 - - - 0;\n"
        "#N canvas 0 0 450 300 sub 0;\n#X obj 1 1 inlet;\n#X obj 2 2 outlet;\n"
        "#X connect 0 0 1 0;\n#X restore 20 20 pd sub;\n"
        "#N canvas 0 0 450 300 (subpatch) 0;\n#X array list 3 float 3;\n#A 0 1 2 3;\n"
        "#X coords 0 1 10 -1 200 140 1;\n#X restore 1 1 graph;\n"
        "#X text 3 3 escaped \\, \\; and\nbroken;\n#X msg 1 1 \\; pd dsp 1;\n"
        "#X obj 4 4 osc~ 440, f 10;\n#X scalar point 1 2 \\;;\n#X connect 0 0 1 0;\n",
        encoding="ascii",
    )
    assert check(path) == path
    assert not look_into(path).dac


def test_a_file_that_vanishes_has_none(tmp_path: Path) -> None:
    assert not look_into(tmp_path / "gone.pd").dac


def test_names_are_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PATCHES)
    assert check("sine.pd") == PATCHES / "sine.pd"
    assert check(b"sine.pd") == PATCHES / "sine.pd"  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="patchfile=3 is no path; try"):
        check(3)  # type: ignore[arg-type]


def test_unreadable(tmp_path: Path) -> None:
    for name in ("a\0b.pd", 1000 * "a" + ".pd"):
        with pytest.raises(PatchError, match="cannot be read"):
            check(name)
    path = tmp_path / "secret.pd"
    path.write_bytes((PATCHES / "sine.pd").read_bytes())
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads every file")
    with pytest.raises(PatchError, match="cannot be read"):
        check(path)
