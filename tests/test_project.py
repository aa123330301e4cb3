"""Promises of the project as a whole: imports, packaging, documents, `./dev`."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "audiostream"
SOURCES = sorted(PACKAGE.rglob("*.py"))

posix = pytest.mark.skipif(os.name != "posix", reason="./dev is a shell script")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [module_name(path) for path in SOURCES if path.name != "__main__.py"]


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    defaults = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    return subprocess.run(  # type: ignore[call-overload]
        [str(word) for word in command], check=False, **{**defaults, "timeout": 100, **options}
    )


# ------------------------------------------------------------------------------- imports


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import audiostream", "numba llvmlite numpy pyaudio soxr soundfile"),
        ("import audiostream.aio", "numba pyaudio soxr soundfile audiostream.libpd"),
    ],
)
def test_import_loads_nothing_heavy(tmp_path: Path, statement: str, heavy: str) -> None:
    names = set(heavy.split())
    code = f"import sys\n{statement}\nprint(sorted({names} & sys.modules.keys()))\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run(sys.executable, "-W", "error", "-c", code, cwd=tmp_path, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_import_contracts_hold() -> None:
    code = "from importlinter.cli import lint_imports_command as main; main()"
    done = run(sys.executable, "-c", code, "--no-cache", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def imports_of(path: Path) -> set[str]:
    """The library's modules that one imports, in its functions too, but not for types alone."""
    found = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & set(MODULES) or {node.module}
        waiting += ast.iter_child_nodes(node)
    return found & set(MODULES)


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = {module_name(path): imports_of(path) for path in SOURCES}
    order = tuple(TopologicalSorter(graph).static_order())  # a CycleError names the circle
    assert set(MODULES) <= set(order)
    assert order.index("audiostream.errors") < order.index("audiostream.aio.sample")


def imported(path: Path) -> Iterator[str]:
    """Every module that the file imports anywhere, `import_module("name")` included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else ""
            name = called.id if isinstance(called, ast.Name) else name
            first = node.args[0]
            if name in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield str(first.value)


def test_realtime_stands_on_numpy_and_numba_alone() -> None:
    allowed = {"llvmlite", "numba", "numpy", *sys.stdlib_module_names} - {"asyncio", "logging"}
    ours = ("audiostream.realtime", "audiostream.pcm", "audiostream.errors")
    strangers = {
        f"{module_name(path)} -> {name}"
        for path in (PACKAGE / "realtime").rglob("*.py")
        for name in imported(path)
        if name.partition(".")[0] not in allowed and not name.startswith(ours)
        if not (name.startswith("audiostream.") and f"audiostream.{name[12:]}" in ours)
    }
    # Before any audio thread is there: what says that it compiles, and knows where to keep it.
    assert strangers <= {
        "audiostream.realtime.compile.kernels -> logging",
        "audiostream.realtime.compile.cache -> platformdirs",
    }


def test_pyaudio_is_imported_by_the_portaudio_device_alone() -> None:
    importers = {
        path.relative_to(PACKAGE).as_posix()
        for path in SOURCES
        for name in imported(path)
        if name.partition(".")[0] in ("pyaudio", "_portaudio")
    }
    assert importers <= {"device/portaudio/callback_path.py"}


@pytest.mark.parametrize("name", MODULES)
def test_all_names_what_is_there(name: str) -> None:
    module = importlib.import_module(name)
    names = list(getattr(module, "__all__", ()))
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


# ----------------------------------------------------------------------------- packaging


def test_version_is_the_packages() -> None:
    import audiostream

    assert audiostream.__version__ == importlib.metadata.version("audiostream")


def test_pure_data_is_an_extra_of_its_own() -> None:
    """`cypd` is GPL: only `puredata` and the tests install it."""
    requirements = importlib.metadata.requires("audiostream") or []
    gpl = [line for line in requirements if re.match(r"cypd\b", line)]
    extras = [re.findall(r"""extra == ['"](\w+)['"]""", line) for line in gpl]
    assert sorted(extras) == [["puredata"], ["test"]]
    assert not [line for line in requirements if re.match(r"audiostream\[.*puredata", line)]


def test_pedalboard_is_for_the_benchmarks_alone() -> None:
    """It is GPL."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    bench = re.search(r"^bench = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    assert bench is not None
    assert '"pedalboard' in bench[1]
    assert text.count('"pedalboard') == 1
    users = [line.strip() for line in text.splitlines() if re.search(r"\[.*\bbench\]", line)]
    assert [line.partition(",")[0] for line in users] == ['"audiostream[all']  # for `test`


def test_the_lowest_versions_that_tox_installs_are_those_declared() -> None:
    lines = [Requirement(line) for line in importlib.metadata.requires("audiostream") or []]
    runs = [
        one
        for one in lines
        if one.name != "audiostream"
        and not re.search("extra == .(bench|docs|puredata|test)", str(one.marker))
    ]
    declared = {}
    for one in runs:
        ((sign, version),) = ((s.operator, s.version) for s in one.specifier)
        assert sign == ">=", one
        marker = re.sub(r"( and )?extra == ['\"]\w+['\"]", "", str(one.marker or ""))
        declared[one.name, marker] = version
    text = (ROOT / "requirements" / "lowest.txt").read_text(encoding="utf-8")
    kept = [Requirement(line) for line in text.splitlines() if not line.startswith("#")]
    assert declared == {
        (one.name, str(one.marker or "")): str(one.specifier).removeprefix("==") for one in kept
    }


def test_tox_has_an_environment_for_each_python_that_is_declared() -> None:
    declared = re.findall(
        r"Python :: 3\.(\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    )
    text = (ROOT / "tox.ini").read_text(encoding="utf-8")
    (line,) = re.findall(r"^env_list = (.*)$", text, flags=re.MULTILINE)
    versions = ",".join(declared)
    assert line == f"lint, types, docs, py3{{{versions}}}, py3{{{versions}}}-lowest"


def test_wheel_holds_the_whole_package_and_nothing_else(tmp_path: Path) -> None:
    done = run(
        sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    expected = {
        path.relative_to(ROOT).as_posix()
        for suffix in ("*.py", "*.wav", "*.md", "*.xz", "py.typed")
        for path in PACKAGE.rglob(suffix)
    }
    assert "audiostream/py.typed" in expected
    assert {name for name in inside if ".dist-info/" not in name} == expected
    assert [name for name in inside if name.endswith("/licenses/LICENSE")]


# ----------------------------------------------------------------------------- documents


def documents() -> list[Path]:
    built = {"_build", "build", "dist", "htmlcov"}
    return sorted(
        path
        for path in ROOT.rglob("*.md")
        if not any(
            part.startswith(".") or part in built for part in path.relative_to(ROOT).parts
        )
    )


def links(text: str) -> Iterator[str]:
    text = re.sub(r"^(```+|~~~+).*?^\1", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    yield from re.findall(r"\]\(\s*<?([^)\s>]+)", text)
    yield from re.findall(r"^\s*\[[^\]]+\]:\s+<?([^\s>]+)", text, flags=re.MULTILINE)
    yield from re.findall(r"""(?:src|href)=["']([^"']+)["']""", text)


def test_links_finds_links() -> None:
    text = (
        '[a](b.md#c) ![d](<e.png>) `[no](no)`\n```\n[no](no)\n```\n[f]: g.md\n<img src="h">\n'
    )
    assert list(links(text)) == ["b.md#c", "e.png", "g.md", "h"]


@pytest.mark.parametrize(
    "document", documents(), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_relative_links_lead_somewhere(document: Path) -> None:
    relative = [
        link.partition("#")[0]
        for link in links(document.read_text(encoding="utf-8"))
        if not re.match(r"[a-z][a-z0-9+.-]*:|#|//", link, flags=re.IGNORECASE)
    ]
    assert [link for link in relative if not (document.parent / link).exists()] == []


# --------------------------------------------------------------------------------- ./dev


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a space in its name that holds `dev` and no virtual environment."""
    folder = tmp_path / "a project"
    folder.mkdir()
    shutil.copy(ROOT / "dev", folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with no compiler, whose apt-get and sudo only take notes."""
    tools = tmp_path / "tools"
    tools.mkdir()
    note = 'echo "{} $* ${{DEBIAN_FRONTEND:-}}" >>"$NOTES"\n'
    scripts = {
        "id": 'echo "$FAKE_UID"\n',
        "apt-get": note.format("apt-get"),
        "sudo": note.format("sudo") + 'test "$FAKE_SUDO" = yes || exit 1\nshift\nexec "$@"\n',
    }
    for name, script in scripts.items():
        (tools / name).write_text("#!/bin/sh\n" + script, encoding="utf-8")
        (tools / name).chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "CC": "a-compiler-that-is-not-there",
        "NOTES": str(tmp_path / "notes"),
        "FAKE_UID": "1000",
        "FAKE_SUDO": "no",
    }


@posix
def test_dev_help_names_both_commands(project: Path, tmp_path: Path) -> None:
    done = run(project / "dev", "help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "./dev demo" in done.stdout
    assert "./dev test" in done.stdout
    assert run(project / "dev", cwd=tmp_path).stdout == done.stdout


@posix
def test_dev_refuses_an_unknown_command(project: Path) -> None:
    done = run(project / "dev", "tset")
    assert done.returncode != 0
    assert "tset" in done.stderr


@posix
def test_dev_without_root_says_the_one_line_to_run(
    project: Path, machine: dict[str, str]
) -> None:
    done = run(project / "dev", "demo", env=machine)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "apt-get" in line]
    assert re.fullmatch(
        r" *sudo sh -c 'apt-get update && DEBIAN_FRONTEND=noninteractive "
        r"apt-get install -y --no-install-recommends gcc libc6-dev[^']*'",
        line,
    )
    notes = Path(machine["NOTES"]).read_text(encoding="utf-8")
    assert "apt-get" not in notes
    assert not (project / ".venv").exists()


@posix
@pytest.mark.parametrize(
    "who", [{"FAKE_UID": "0"}, {"FAKE_SUDO": "yes"}], ids=["root", "sudo without a password"]
)
def test_dev_installs_without_a_question(
    project: Path, machine: dict[str, str], who: dict[str, str]
) -> None:
    done = run(project / "dev", "demo", env={**machine, **who})
    assert done.returncode != 0  # the apt-get of this test brings no compiler
    assert "there is no C compiler" in done.stderr
    assert "installing system packages: gcc" in done.stdout
    notes = Path(machine["NOTES"]).read_text(encoding="utf-8").splitlines()
    update, install = [note for note in notes if note.startswith("apt-get")]
    assert " update" in update
    assert re.search(r" install -y .*\bgcc\b.* noninteractive$", install)


@posix
def test_continuous_integration_runs_dev_test() -> None:
    script = ROOT / ".ci" / "run"
    assert "./dev test" in script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)
    assert os.access(ROOT / "dev", os.X_OK)
