"""Trains an experiment: python -m deepdeblur_tf.train [--config FILE] [--output RUN] [--<section>.<key> VALUE ...]

Without --config it trains experiments/quickstart.yaml: embedded scenes, no download, a few minutes on two cores. The
same command given again continues an interrupted run.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from deepdeblur_tf.config import SCENES, ConfigError, experiment_parser, parse_experiment, steps_per_epoch
from deepdeblur_tf.data.pairs import find_folders
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import disk_fault
from deepdeblur_tf.runs.folder import Run, RunError
from deepdeblur_tf.runs.provenance import describe_data


def _quickstart() -> str:
    package = Path(__file__).parent
    # Beside the package in a checkout, inside it in an installed wheel.
    for folder in (package.parent / "experiments", package / "experiments"):
        if (folder / "quickstart.yaml").is_file():
            return str(folder / "quickstart.yaml")
    raise ConfigError("no experiment given; use --config FILE")


def main(arguments=None) -> int:
    """The command; returns the exit status: 0, 1 for a bad loss, 2 for bad settings or data, 130 when stopped."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = experiment_parser(
        prog="python -m deepdeblur_tf.train",
        description="Trains an experiment. Without --config it is experiments/quickstart.yaml: embedded scenes, no "
        "download, a few minutes on two cores. The same command given again continues an interrupted run. The defaults "
        "below are for what the experiment's file leaves out.",
    )
    parser.add_argument(
        "--force", action="store_true", help="Continue a run in spite of changed settings or changed data."
    )
    parser.add_argument("--output", metavar="RUN", help="The run folder. Defaults to runs/<name>.")
    try:
        if not any(word.split("=")[0] in ("--config", "--help", "-h") for word in arguments):
            arguments = ["--config", _quickstart(), *arguments]
        experiment, flags = parse_experiment(parser, arguments)
        return _train(experiment, Run(Path(flags.output or Path("runs") / experiment.name)), flags.force)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def _train(experiment, run: Run, force: bool) -> int:
    if experiment.data.root != SCENES:
        # The run's settings name the data wherever the command is given.
        root = str(Path(experiment.data.root).expanduser().resolve())
        experiment = replace(experiment, data=replace(experiment.data, root=root))
    if run.is_finished:
        run.check(experiment)
        print(f"{run.folder} is finished; nothing to do. Its network is {run.model}.")
        return 0
    folders = find_folders(experiment)
    for folder in folders or ():
        if folder.pairs:
            print(folder.describe())
    steps_per_epoch(experiment.training, len(folders[0].pairs) if folders else experiment.data.scenes)
    data = describe_data(folders)
    with run.claimed(experiment, data, force):
        return _train_claimed(experiment, run, folders, data)


def _train_claimed(experiment, run: Run, folders, data: dict) -> int:
    print(f"run: {run.folder}")

    from deepdeblur_tf.compat import tf
    from deepdeblur_tf.training.callbacks import Interrupted, NonFiniteLoss
    from deepdeblur_tf.training.loop import train_run

    try:
        outcome = train_run(experiment, run, folders, data)
    except (Interrupted, KeyboardInterrupt) as stop:
        print(
            f"\n{str(stop) or 'stopped at once'}. The same command continues the run in {run.folder}.", file=sys.stderr
        )
        return 130
    except NonFiniteLoss as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except (tf.errors.OpError, OSError, MemoryError) as error:
        fault = disk_fault(error)
        if fault:
            raise RunError(
                f"{run.folder} cannot be written any more: {fault}. Make room or mend it; the same command "
                "continues the run."
            ) from error
        if isinstance(error, (tf.errors.ResourceExhaustedError, MemoryError)):
            raise RunError(
                "the memory is full. Lower training.batch_size, data.patch_size or model.filters, or use "
                "data.cache none."
            ) from error
        raise
    print(f"network: {run.model}")
    print(f"curves:  {sys.executable} -m tensorboard.main --logdir {run.logs}")
    if outcome.images:
        gain = outcome.psnr_after - outcome.psnr_before
        if outcome.picture:
            print(f"picture: {outcome.picture}")
        print(
            f"PSNR, mean of {outcome.images} validation images: {outcome.psnr_before:.2f} dB blurry, "
            f"{outcome.psnr_after:.2f} dB restored ({gain:+.2f} dB)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
