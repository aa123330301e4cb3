"""The command line, ``python -m audiostream`` and ``audiostream``; caller thread."""

from __future__ import annotations

import sys

__all__ = ("main",)

EXTRAS = frozenset({"matplotlib", "rich", "soundfile", "typer"})
"""What the command line needs and the library does not."""


def main() -> None:
    """Run the command line; exits with 1 and a word of advice where its extras are missing."""
    try:
        from audiostream.cli import app

        app()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS:
            raise
        sys.exit(
            f"audiostream: the command line needs more than what is installed ({error}); "
            "try python -m pip install 'audiostream[cli,files]'"
        )


if __name__ == "__main__":
    main()
