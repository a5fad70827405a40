"""How much memory there is."""

from __future__ import annotations

from pathlib import Path

import psutil

from deepdeblur_tf.compat import gpus


def memory_budget() -> int:
    """The memory that a restoration may use unless told otherwise, in bytes.

    Half of what the machine (or its container) has available. On a GPU, whose memory TensorFlow does not tell: 4 GiB.
    """
    if gpus():
        return 4 * 2**30
    available = psutil.virtual_memory().available
    # A container's limit, which the machine's own figures do not show: control groups, version 2 and version 1.
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit, used = (int(Path("/sys/fs/cgroup", name).read_text()) for name in (limit, used))
        except (OSError, ValueError):  # not there, or "max"
            continue
        available = min(available, limit - used)
    return max(0, available) // 2
