"""One training, from its experiment to a finished run folder; continues an interrupted one where it stopped."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepdeblur_tf.compat import device_name, progress_bar, tf
from deepdeblur_tf.config import Experiment, steps_per_epoch
from deepdeblur_tf.data.pipeline import batch_names, open_sources, train_dataset, validation_dataset
from deepdeblur_tf.data.sources import ReadableOnly, spread
from deepdeblur_tf.metrics import psnr
from deepdeblur_tf.model import build_model
from deepdeblur_tf.runs import provenance
from deepdeblur_tf.runs.folder import Run
from deepdeblur_tf.runs.networks import save_network
from deepdeblur_tf.training import callbacks as cb
from deepdeblur_tf.training.optimizer import learning_rate_schedule, make_optimizer
from deepdeblur_tf.training.trainer import Trainer


@dataclass(frozen=True)
class Outcome:
    """What a finished training reached.

    Attributes:
        images: Validation images measured; 0 without a validation set, and then the rest is None.
        psnr_before: Their mean PSNR in dB, blurry.
        psnr_after: Their mean PSNR in dB, restored.
        picture: Some of them as blurry | restored | sharp; None where `validation.samples` is 0.
    """

    images: int
    psnr_before: float | None = None
    psnr_after: float | None = None
    picture: Path | None = None


def _mean_blurry_psnr(source, indices) -> float:
    return float(np.mean([psnr(*np.split(source.read(index), 2, axis=2)) for index in indices]))


def train_run(experiment: Experiment, run: Run, folders=None, data: dict | None = None, say=print) -> Outcome:
    """Trains an experiment, or continues it from its last checkpoint.

    Args:
        experiment: The experiment.
        run: Its folder, claimed for it.
        folders: The pairs on disk as `pairs.find_folders` gave them. Defaults to finding them.
        data: What `provenance.describe_data` gave for them, to be recorded.
        say: Called with each line for the user.

    Returns:
        What it reached.

    Raises:
        callbacks.Interrupted: the user stopped it; the same call continues it.
        callbacks.NonFiniteLoss: the loss became NaN or infinite.
    """
    settings = experiment.training
    tf.keras.utils.set_random_seed(experiment.seed)
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    train, validation = open_sources(experiment, folders)
    if experiment.data.on_error == "skip":
        train = ReadableOnly(train, run.unreadable)
    indices = spread(len(validation), experiment.validation.images)
    steps = steps_per_epoch(settings, len(train))
    every = experiment.validation.every
    validated = sorted({*range(every, settings.epochs, every), settings.epochs})

    network = build_model(**vars(experiment.model))
    trainer = Trainer(network)
    trainer.compile(make_optimizer(settings, steps))
    say(f"device: {device_name()}; TensorFlow {tf.__version__}")
    say(
        f"network: {experiment.model.levels} levels, {experiment.model.upsampling}, {network.count_params():,} "
        f"parameters; {settings.epochs} epochs of {steps} steps of {settings.batch_size} patches"
    )
    schedule = learning_rate_schedule(settings, steps)
    checkpoints = cb.Checkpoints(
        run, trainer, schedule, steps, settings.checkpoint_minutes, settings.keep_checkpoints, validated
    )
    start, damaged = checkpoints.restore()
    provenance.record(run.provenance, data or {}, start, device_name(), tf.__version__)
    for line in damaged:
        say(f"left out a checkpoint: {line}")
    if start:
        say(f"continuing after step {start} of {steps * settings.epochs}")
    before = _mean_blurry_psnr(validation, indices) if len(indices) else None
    if len(indices):
        say(f"validation: {len(indices)} whole images, blurry at {before:.2f} dB PSNR on average")
    else:
        say("no validation set: no validation PSNR, no samples and no best checkpoint")

    tensorboard = cb.TensorBoard(run.logs, schedule, start)
    shown = indices[spread(len(indices), experiment.validation.samples)]
    samples = cb.Samples(validation, shown, run.samples, tensorboard.writer)
    watch = []
    if settings.on_nan == "stop":
        names = functools.partial(batch_names, train, seed=experiment.seed, batch_size=settings.batch_size)
        watch = [cb.StopOnNonFiniteLoss(names)]
    with cb.StopOnSignal(checkpoints) as stop:
        # An epoch that was interrupted in its middle gets a `fit` of its own for the steps that it still lacks.
        while start < steps * settings.epochs:
            first_epoch, done = divmod(start, steps)
            last_epoch = first_epoch + 1 if done else settings.epochs
            with progress_bar(first_epoch) as bar:
                trainer.fit(
                    train_dataset(
                        train,
                        seed=experiment.seed,
                        epochs=last_epoch,
                        batch_size=settings.batch_size,
                        patch_size=experiment.data.patch_size,
                        levels=experiment.model.levels,
                        start_step=start,
                    ),
                    initial_epoch=first_epoch,
                    epochs=last_epoch,
                    steps_per_epoch=steps - done,
                    validation_data=validation_dataset(validation, levels=experiment.model.levels, indices=indices)
                    if len(indices)
                    else None,
                    validation_freq=validated,
                    shuffle=False,
                    verbose=0,
                    callbacks=[
                        *watch,
                        bar,
                        tensorboard,
                        samples,
                        checkpoints,
                        stop,
                    ],
                )
            start = last_epoch * steps
    save_network(network, run.model)
    skipped = sum(int(row["skipped"]) for row in run.read_history())
    if skipped:
        say(f"left out: {skipped} batches with a loss or gradient that is no finite number")
    if experiment.data.on_error == "skip" and train.unreadable():
        say(f"skipped, for they cannot be read: {len(train.unreadable())} training images")
        for line in train.unreadable():
            say(f"  {line}")
    after = float(run.read_history()[-1]["val_psnr"]) if len(indices) else None
    return Outcome(len(indices), before, after, samples.last_picture)
