"""What a run is: its data, and every process that worked on it, in provenance.json. Loads no TensorFlow."""

from __future__ import annotations

import datetime
import json
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import deepdeblur_tf
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import write_json


def changes(one: dict, other: dict) -> list[str]:
    """What differs between two descriptions of data, a line a set."""

    def words(data, split):
        about = data.get(split, {})
        return ", ".join(value if key == "sha256" else f"{value} {key}" for key, value in about.items()) or "none"

    return [
        f"{split} data: {words(one, split)} / {words(other, split)}"
        for split in sorted({*one, *other})
        if one.get(split) != other.get(split)
    ]


def git_commit() -> str | None:
    """The commit of the checkout that this code runs from, with "+" for changes in it; None outside of one."""
    folder = Path(deepdeblur_tf.__file__).parent
    tracked = ("ls-files", "--error-unmatch", "__init__.py")  # an installed package may lie in another's checkout
    try:
        _, commit, status = (
            subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for words in (tracked, ("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no", "."))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if status else "")


def now() -> str:
    """The time in UTC, as ISO 8601 has it."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def versions(tensorflow: str) -> dict[str, str]:
    """The versions of what computes, TensorFlow's as it was given."""
    return {"deepdeblur_tf": deepdeblur_tf.__version__, "tensorflow": tensorflow, "python": platform.python_version()}


def record(path: Path, data: dict, step: int, device: str, tensorflow: str) -> None:
    """Adds this process to a run's provenance.json.

    Args:
        path: The file.
        data: What `DataSet.about` gave.
        step: The step that the process begins after.
        device: In words.
        tensorflow: Its version.
    """
    content = {**read(path), "data": data}
    content.setdefault("processes", []).append(
        {
            "began": now(),
            "after_step": step,
            "command": shlex.join(sys.argv),
            "git_commit": git_commit(),
            **versions(tensorflow),
            "device": device,
        }
    )
    write_json(path, content)


def read(path: Path) -> dict:
    """The content of a provenance.json; {} where there is none.

    Raises:
        UserError: it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}). Remove it; it is then begun anew.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no run's. Received: {str(content)[:100]}")
    return content
