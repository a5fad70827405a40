"""How much memory there is."""

from __future__ import annotations

import re
from pathlib import Path

import psutil

# Control groups, version 2 and version 1: a group's limit, what it uses, and the name in its statistics of the file
# cache that counts as used and is given up as soon as memory runs short.
_CONTROL_GROUPS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)


def available_memory(control_group: Path = Path("/sys/fs/cgroup")) -> int:
    """What the machine, or the container that `control_group` describes, has available, in bytes."""
    available = psutil.virtual_memory().available  # of the machine, whatever the container's limit
    for *files, cache in _CONTROL_GROUPS:
        try:
            limit, used, statistics = ((control_group / file).read_text() for file in files)
            found = re.search(rf"^{cache} (\d+)$", statistics, re.MULTILINE)
            available = min(available, int(limit) - int(used) + (int(found[1]) if found else 0))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return max(0, available)


def is_shortage(error: BaseException) -> bool:
    """Whether an error, of Python or of TensorFlow, says that the memory did not suffice."""
    from deepdeblur_tf.compat import tf

    if isinstance(error, tf.errors.AbortedError):  # oneDNN's convolutions, on a CPU, report their status 1 in it
        return "Status: 1," in error.message
    return isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError))


def memory_budget() -> int:
    """The memory that a restoration may use unless told otherwise, in bytes.

    Half of what is available. On a GPU, whose memory TensorFlow does not tell: 4 GiB.
    """
    from deepdeblur_tf.compat import gpus  # loads TensorFlow, which a look at the data does not need

    return 4 * 2**30 if gpus() else available_memory() // 2
