"""Trains an experiment: python -m deepdeblur_tf.train [--config FILE] [--output RUN] [--<section>.<key> VALUE ...]

Without --config it trains the experiment quickstart: embedded scenes, no download, a few minutes on two cores. The
same command given again continues an interrupted run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from deepdeblur_tf.command_line import add_settings, answered, folder_name, given_settings
from deepdeblur_tf.config import ConfigError, check_warmup, load_experiment, steps_per_epoch, to_yaml, unknown_setting
from deepdeblur_tf.data.kinds import find_data
from deepdeblur_tf.data.protocol import DataSet
from deepdeblur_tf.files import disk_fault
from deepdeblur_tf.memory import is_shortage
from deepdeblur_tf.networks.archive import check_pretrained
from deepdeblur_tf.runs.folder import Run, RunError
from deepdeblur_tf.terminal import shown_name
from deepdeblur_tf.training.workers import Worker, this_worker


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        usage="%(prog)s [--config FILE] [--output RUN] [--force] [--<section>.<key> VALUE ...]",
        description="Trains an experiment. Without --config it is quickstart: embedded scenes, no download, a few "
        "minutes on two cores. The same command given again continues an interrupted run. The defaults "
        "of the settings below are for what the experiment's file leaves out.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="The experiment's file, or the name of one that comes with the "
        "package: fine_tune, photographs, gopro_pixel_shuffle, ... Flags win over it. Defaults to quickstart.",
    )
    parser.add_argument("--output", type=folder_name, metavar="RUN", help="The run folder. Defaults to runs/<name>.")
    parser.add_argument(
        "--force", action="store_true", help="Continue a run in spite of changed settings or changed data."
    )
    parser.add_argument("--print_config", action="store_true", help="Print the experiment as YAML, and train nothing.")
    add_settings(parser)
    return parser


def main(arguments=None, prog="python -m deepdeblur_tf.train") -> int:
    """The command; returns the exit status: 0, 1 for a bad loss, 2 for bad settings or data, 130 when stopped."""
    flags, unknown = _parser(prog).parse_known_args(arguments)
    return answered(lambda: _begin(flags, unknown), "stopped")


def _begin(flags, unknown: list[str]) -> int:
    if unknown:
        if not unknown[0].startswith("--"):
            raise ConfigError(f"received {unknown[0]!r}, which belongs to no flag; a file is given as --config FILE.")
        raise unknown_setting(unknown[0][2:].partition("=")[0], "command line", vars(flags))
    experiment = load_experiment(flags.config or "quickstart", given_settings(flags))
    if flags.print_config:
        print(to_yaml(experiment), end="")
        return 0
    return _train(experiment, Run(Path(flags.output or Path("runs") / experiment.name)), flags.force)


def _train(experiment, run: Run, force: bool) -> int:
    if experiment.data.folder:  # the run's settings name the data wherever the command is given
        root = str(experiment.data.folder.resolve())
        experiment = replace(experiment, data=replace(experiment.data, root=root))
    if run.is_finished and not run.differing(experiment):
        return _nothing_to_do(run)
    worker = this_worker()
    if experiment.training.pretrained and worker.is_chief and not run.has_checkpoint:
        check_pretrained(experiment)  # what is wrong with it is said before the data are looked through
    data_set = find_data(experiment)
    for split in data_set.splits:
        if len(split):
            print(split.describe())
    steps = steps_per_epoch(experiment.training, data_set.epoch_pairs)
    check_warmup(experiment.training, steps)
    about = data_set.about()
    if run.is_finished and not run.differing(experiment, about):  # the same data under another path
        return _nothing_to_do(run)
    if worker.is_chief:
        with run.claimed(experiment, about, force, steps):
            return _train_claimed(experiment, run, data_set, about, worker)
    print(f"worker {worker.number} of 0 to {worker.count - 1}: training; worker 0 reports, and writes the run")
    with tempfile.TemporaryDirectory(prefix="deepdeblur_tf-") as scratch:  # what this one writes nobody needs
        return _train_claimed(experiment, Run(Path(scratch)), data_set, about, worker)


def _nothing_to_do(run: Run) -> int:
    print(shown_name(f"{run.folder} is finished; nothing to do. Its network is {run.model}."))
    return 0


def _train_claimed(experiment, run: Run, data_set: DataSet, about: dict, worker: Worker) -> int:
    say = print if worker.is_chief else lambda line: None
    if worker.count > 1:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # or a lost worker is reported in many lines before ours
    say(f"run: {shown_name(run.folder)}")

    from deepdeblur_tf.compat import tf
    from deepdeblur_tf.training.loop import train_run
    from deepdeblur_tf.training.stops import Interrupted, NonFiniteLoss

    try:
        train_run(experiment, run, data_set, about, say, worker)
    except (Interrupted, KeyboardInterrupt) as stop:
        where = f" in {shown_name(run.folder)}" if worker.is_chief else ""
        print(f"\n{str(stop) or 'stopped at once'}. The same command continues the run{where}.", file=sys.stderr)
        return 130
    except NonFiniteLoss as error:
        print(f"\nerror: {shown_name(error)}", file=sys.stderr)
        return 1
    except (tf.errors.OpError, OSError, MemoryError) as error:
        fault = disk_fault(error)
        if fault:
            raise RunError(
                f"{run.folder} cannot be written any more: {fault}. Make room or mend it; the same command "
                "continues the run."
            ) from error
        lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
        if worker.count > 1 and isinstance(error, lost):
            raise RunError(
                "another worker has ended, or cannot be reached any more; what it said itself tells why. The same "
                "commands continue the run from its last checkpoint."
            ) from error
        if is_shortage(error):
            raise RunError(
                "the memory is full. Lower training.batch_size, data.patch_size or model.filters, or use "
                "data.cache none."
            ) from error
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
