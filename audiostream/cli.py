"""The commands ``demo`` and ``devices``; caller thread, the work is done on an event loop."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import anyio
import typer
from rich.console import Console

from audiostream import aio

__all__ = ("app",)

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

T = TypeVar("T")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Microphone and speaker for asyncio, trio and plain Python.",
)


class Backend(str, Enum):
    """The event loop to run on."""

    asyncio = "asyncio"
    trio = "trio"


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        version = importlib.metadata.version("audiostream")
    except importlib.metadata.PackageNotFoundError:
        version = "(not installed: run from its source tree)"
    typer.echo(f"audiostream {version}")
    raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say which."),
    ] = False,
) -> None:
    del version  # its callback has done it


def _root(error: BaseException) -> BaseException:
    """The first error inside the groups that task groups make."""
    while isinstance(inner := getattr(error, "exceptions", None), tuple):
        error = inner[0]
    return error


@contextlib.contextmanager
def _errors_as_lines() -> Iterator[None]:
    """Turn Ctrl-C and this library's errors into a line and an exit code."""
    try:
        yield
    except BaseException as error:
        root = _root(error)
        if isinstance(root, KeyboardInterrupt):
            typer.echo("Stopped.")
            raise typer.Exit(INTERRUPTED) from None
        if isinstance(root, aio.AudioException):
            typer.echo(f"audiostream: {root}", err=True)
            raise typer.Exit(1) from None
        raise


async def _until_interrupted(job: Callable[[], Awaitable[T]]) -> T | None:
    """Do a job; None if Ctrl-C has cancelled it.

    Left to itself, trio raises KeyboardInterrupt between any two instructions, the inside
    of a library that cannot stand it included.
    """
    if sys.platform == "win32":  # asyncio has no signal handlers there
        return await job()
    result = None
    with anyio.open_signal_receiver(signal.SIGINT) as signals:
        async with anyio.create_task_group() as group:

            async def watch() -> None:
                async for _ in signals:
                    group.cancel_scope.cancel()

            group.start_soon(watch)
            result = await job()
            group.cancel_scope.cancel()
    return result


def _name_or_index(name: str) -> str | int:
    return int(name) if name.isdecimal() else name


def _writable(path: Path, suffix: str) -> Path:
    """The path, if a file with that suffix can be made there."""
    if path.suffix.lower() != suffix:
        raise typer.BadParameter(
            f"{str(path)!r} does not end in {suffix}; try {path.with_suffix(suffix)}"
        )
    if not path.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {str(path.parent)!r}; make it first")
    return path


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=0.5, max=60, help="How long to record.")] = 4.0,
    output: Annotated[Path, typer.Option(help="The WAV file of what was played.")] = Path(
        "audiostream-demo.wav"
    ),
    picture: Annotated[Path, typer.Option(help="The PNG picture of it.")] = Path(
        "audiostream-demo.png"
    ),
    device: Annotated[str, typer.Option(help="Where to play; see `devices`.")] = "default",
    source: Annotated[str, typer.Option(help="What to record; see `devices`.")] = "default",
    backend: Annotated[Backend, typer.Option(help="The event loop.")] = Backend.asyncio,
) -> None:
    """Record the microphone, and play it back together with a melody of three voices.

    What was played is written to a WAV file and a picture. A machine without a microphone
    or a speaker gets a virtual one.
    """
    _writable(output, ".wav")
    _writable(picture, ".png")
    if backend is Backend.trio and importlib.util.find_spec("trio") is None:
        raise typer.BadParameter("trio is not installed; try python -m pip install trio")
    console = Console()
    with _errors_as_lines():
        from audiostream import demo as job  # matplotlib takes its time

        performance = anyio.run(
            _until_interrupted,
            partial(
                job.perform,
                console,
                seconds,
                _name_or_index(device),
                _name_or_index(source),
                output,
            ),
            backend=backend.value,
        )
        if performance is None:
            raise KeyboardInterrupt
        peak = job.draw(performance, picture)
        job.report(console, performance)
        for line in (
            f"Played: {output} (peak {peak:.1f} dB)",
            f"To look at: {picture}",
        ):
            typer.echo(line)


@app.command()
def devices() -> None:
    """List what can be played to and recorded from."""
    with _errors_as_lines():
        outputs = anyio.run(aio.get_output_devices)
        inputs = anyio.run(aio.get_input_sources)
    for title, option, names, file in (
        ("Outputs", "--device", outputs, "a WAV file to render to"),
        ("Inputs", "--source", inputs, "a sound file to play as a microphone"),
    ):
        typer.echo(f"{title} ({option}):")
        for name in names:
            typer.echo(f"  {name}")
        if len(names) == 1:
            typer.echo("    (no sound hardware found)")
        typer.echo("  null              silence in real time")
        typer.echo(f"  file:PATH.wav     {file}")
        typer.echo("  loopback:NAME     from the output to the inputs of that name")
