"""A network that is to be measured."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Network(NamedTuple):
    """A trained network to be measured.

    Attributes:
        label: What it is called in tables and pictures.
        file: Its `.keras` file.
        experiment: The name of the experiment that trained it; None where that is not known.
        folder: Where its figures go.
    """

    label: str
    file: Path
    experiment: str | None
    folder: Path
