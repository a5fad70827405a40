"""Which process of a training on several machines this one is, by TF_CONFIG or Slurm. Loads no TensorFlow."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from deepdeblur_tf.config import ConfigError


@dataclass(frozen=True)
class Worker:
    """One of the processes that train together.

    Args:
        number: int. Its number among them, from 0, the chief, who writes the run folder.
        count: int. How many there are; 1 for a training of its own.
        launcher: "TF_CONFIG" or "Slurm", whose variables say so; None for a training of its own.
    """

    number: int = 0
    count: int = 1
    launcher: str | None = None

    @property
    def is_chief(self) -> bool:
        return self.number == 0


def this_worker() -> Worker:
    """The worker that this process is, by the variable TF_CONFIG, or else as a task of a Slurm step of several.

    Raises:
        ConfigError: TF_CONFIG does not say which worker of which cluster.
    """
    text = os.environ.get("TF_CONFIG")
    if text:
        return _by_tf_config(text)
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))  # there in what srun starts, not in the batch script itself
    return Worker(int(os.environ["SLURM_PROCID"]), tasks, "Slurm") if tasks > 1 else Worker()


def _by_tf_config(text: str) -> Worker:
    try:
        content = json.loads(text)
        jobs = content.get("cluster", {})
        workers = [(job, index) for job in ("chief", "worker") for index in range(len(jobs.get(job, ())))]
        if len(workers) < 2 and not jobs.keys() - {"chief", "worker"}:
            return Worker()
        number = workers.index((content["task"]["type"], int(content["task"]["index"])))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"TF_CONFIG: received {text!r}; allowed: such as "
            '\'{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}\', with '
            "the same cluster and another index in each process."
        ) from None
    return Worker(number, len(workers), "TF_CONFIG")
