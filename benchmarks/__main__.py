"""``python -m benchmarks`` runs every measurement and prints its table."""

from __future__ import annotations

from benchmarks import busy

busy.main()
