"""One training, from its experiment to a finished run folder; continues an interrupted one where it stopped."""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepdeblur_tf.compat import device_name, progress_bar, tf
from deepdeblur_tf.config import Experiment
from deepdeblur_tf.data.pipeline import Stream, validation_dataset
from deepdeblur_tf.data.protocol import DataSet, Source
from deepdeblur_tf.data.sources import ReadableOnly
from deepdeblur_tf.metrics import psnr
from deepdeblur_tf.model import begin_with, build_model
from deepdeblur_tf.networks.archive import load_model, save_network
from deepdeblur_tf.runs import provenance
from deepdeblur_tf.runs.folder import Run
from deepdeblur_tf.terminal import on_stops, raw, shown_name
from deepdeblur_tf.training.adversarial import AdversarialTrainer, build_discriminator
from deepdeblur_tf.training.checkpoints import Checkpoints
from deepdeblur_tf.training.distribution import check_alike, continue_as_chief, described, make_strategy
from deepdeblur_tf.training.history import EpochLines, History
from deepdeblur_tf.training.initialization import begun
from deepdeblur_tf.training.optimizer import learning_rate_schedule, make_optimizer
from deepdeblur_tf.training.stops import StopOnNonFiniteLoss, StopOnSignal
from deepdeblur_tf.training.tensorboard import TensorBoard
from deepdeblur_tf.training.trainer import MOST_PSNR, Trainer
from deepdeblur_tf.training.validation_samples import ValidationSamples
from deepdeblur_tf.training.workers import Worker


@dataclass(frozen=True)
class _Setup:
    """What is trained, by whom, on what: experiment, devices, the stream of batches, the pairs that validate."""

    experiment: Experiment
    worker: Worker
    strategy: tf.distribute.Strategy
    stream: Stream
    validation: Source

    @property
    def validated_epochs(self) -> list[int]:
        every, epochs = self.experiment.validation.every, self.experiment.training.epochs
        return sorted({*range(every, epochs, every), epochs})

    @property
    def device(self) -> str:
        return device_name() + described(self.strategy, self.worker)


def train_run(experiment: Experiment, run: Run, data_set: DataSet, about: dict, say, worker: Worker) -> None:
    """Trains an experiment, or continues it from its last checkpoint, and says what it reached.

    Args:
        experiment: The experiment.
        run: Its folder, claimed for it.
        data_set: Its data, as `kinds.find_data` gave them.
        about: What `data_set.about` gave, to be recorded.
        say: Called with each line for the user.
        worker: Which of several processes this one is; each has a `run` of its own, and continues as the chief's is.

    Raises:
        PairsError, ImageError: what is wrong with the data, by the file's name.
        RunError: there are checkpoints, but none can be continued from.
        NetworkError, ConfigError: `training.pretrained` is no network, or another one than the experiment's.
        stops.Interrupted: the user stopped it; the same call continues it.
        stops.NonFiniteLoss: the loss became NaN or infinite.
    """
    strategy = make_strategy(worker, experiment.training.batch_size)
    tf.keras.utils.set_random_seed(experiment.seed)
    if experiment.training.deterministic:
        tf.config.experimental.enable_op_determinism()
    check_alike(strategy, worker, experiment, about)
    train, validation = data_set.open()
    if experiment.data.on_error == "skip":
        train = ReadableOnly(train, run.unreadable, experiment.data.patch_size)
    setup = _Setup(experiment, worker, strategy, Stream(experiment, train), validation)
    trainer = _build(setup, say)
    epoch_steps = setup.stream.epoch_steps
    schedule = learning_rate_schedule(experiment.training, epoch_steps)
    history = History(run, schedule, epoch_steps)
    checkpoints = Checkpoints(run, trainer, history.seconds, experiment.training, epoch_steps, setup.validated_epochs)
    start = _restore(checkpoints, setup, say)
    provenance.record(run.provenance, about, start, setup.device, tf.__version__)
    psnr_before = _blurry_psnr(setup.validation, say)
    tensorboard = TensorBoard(run.logs, schedule, start)
    samples = ValidationSamples(setup.validation, experiment.validation.samples, run.samples, tensorboard.writer)
    stop = StopOnSignal(checkpoints)
    with on_stops(stop.ask):
        _fit(setup, trainer, start, [*_guards(setup), tensorboard, samples, history, checkpoints, stop])
    trainer.update_shipped()
    save_network(trainer.shipped, run.model)
    _finish(setup, run, psnr_before, samples.file(experiment.training.epochs), say)


def _build(setup: _Setup, say) -> Trainer:
    model, training = setup.experiment.model, setup.experiment.training
    random = np.random.default_rng(setup.experiment.seed)
    with setup.strategy.scope():
        network = begun(training, random, build_model, **vars(model))
        shipped = None
        if training.ema or training.precision != "float32":
            shipped = build_model(**vars(model))
            shipped.set_weights(network.get_weights())
        optimizer = make_optimizer(training, setup.stream.epoch_steps)
        trained = network, shipped, training.loss, training.ema
        if training.adversarial:
            judged = {"filters": model.filters, "kernel_size": model.kernel_size}
            discriminator = begun(training, random, build_discriminator, **judged)
            trainer = AdversarialTrainer(discriminator, training.adversarial, *trained)
            trainer.compile(optimizer, make_optimizer(training, setup.stream.epoch_steps))
        else:
            trainer = Trainer(*trained)
            trainer.compile(optimizer)
    say(f"device: {setup.device}; TensorFlow {tf.__version__}")
    say(
        f"network: {model.levels} levels, {model.upsampling}, {trainer.network.count_params():,} parameters; "
        f"{training.epochs} epochs of {setup.stream.epoch_steps} steps of {training.batch_size} patches"
    )
    return trainer


def _restore(checkpoints: Checkpoints, setup: _Setup, say) -> int:
    """The step that the chief's newest sound checkpoint is of; 0 without one, where `training.pretrained` begins."""
    _, damaged = checkpoints.files.restore()
    for line in damaged:
        say(f"left out a checkpoint: {shown_name(line)}")
    trainer, training = checkpoints.trainer, setup.experiment.training
    if training.pretrained and setup.worker.is_chief and not trainer.steps_done:
        begin_with(trainer.network, load_model(training.pretrained))
        trainer.shipped.set_weights(trainer.network.get_weights())
        say(f"begins with the weights of {shown_name(training.pretrained)}")
    continue_as_chief(setup.strategy, setup.worker, checkpoints.variables)
    start = trainer.steps_done
    if start:
        say(f"continuing after step {start} of {setup.stream.steps}")
    return start


def _blurry_psnr(validation: Source, say) -> float | None:
    """The mean PSNR of the blurry images, in dB, each at most 100 as the trainer's; None without images."""
    if not len(validation):
        say("no validation set: no validation PSNR, no samples and no best checkpoint")
        return None
    pairs = map(validation.read, range(len(validation)))
    mean = float(np.mean([min(psnr(*np.split(pair, 2, axis=2)), MOST_PSNR) for pair in pairs]))
    say(f"validation: {len(validation)} whole images, blurry at {mean:.2f} dB PSNR on average")
    return mean


def _guards(setup: _Setup) -> list[tf.keras.callbacks.Callback]:
    """What must see each step before the others do."""
    if setup.experiment.training.on_nan == "skip":
        return []
    return [StopOnNonFiniteLoss(None if setup.stream.source.is_endless else setup.stream.names)]


@contextlib.contextmanager
def _progress(setup: _Setup, first_epoch: int, lines: EpochLines):
    """The callback that shows how far it is, within a context; of several workers the chief alone shows it."""
    if not setup.worker.is_chief:
        yield tf.keras.callbacks.Callback()
    elif not sys.stderr.isatty():
        yield lines
    else:
        epochs = setup.experiment.training.epochs
        with contextlib.redirect_stderr(raw(sys.stderr)), progress_bar(first_epoch, epochs) as bar:
            yield bar


def _fit(setup: _Setup, trainer: Trainer, start: int, callbacks: list) -> None:
    """Trains from a step to the end."""
    epochs, epoch_steps = setup.experiment.training.epochs, setup.stream.epoch_steps
    shared_out = setup.strategy.distribute_datasets_from_function
    validation = validation_steps = None
    if len(setup.validation):
        validation = shared_out(functools.partial(validation_dataset, setup.validation, setup.experiment.model))
        replicas = setup.strategy.num_replicas_in_sync
        validation_steps = math.ceil(len(setup.validation) / replicas) if replicas > 1 else None
    lines = EpochLines(epochs, epoch_steps, start)
    # An epoch that was interrupted in its middle gets a `fit` of its own for the steps that it still lacks.
    while start < setup.stream.steps:
        first_epoch, done = divmod(start, epoch_steps)
        last_epoch = first_epoch + 1 if done else epochs
        train = shared_out(functools.partial(setup.stream.batches, start, last_epoch * epoch_steps))
        with _progress(setup, first_epoch, lines) as progress:
            trainer.fit(
                train,
                initial_epoch=first_epoch,
                epochs=last_epoch,
                steps_per_epoch=epoch_steps - done,
                validation_data=validation,
                validation_steps=validation_steps,
                validation_freq=setup.validated_epochs,
                shuffle=False,
                verbose=0,
                callbacks=[progress, *callbacks],
            )
        start = last_epoch * epoch_steps


def _finish(setup: _Setup, run: Run, before: float | None, picture: Path, say) -> None:
    """Says what was left out, has the run count as finished, and says where the results are and how good they are."""
    history = run.read_history()
    skipped = sum(int(row.get("skipped") or 0) for row in history)
    if skipped:
        say(f"left out: {skipped} batches with a loss or gradient that is no finite number")
    unreadable = setup.stream.source.unreadable() if isinstance(setup.stream.source, ReadableOnly) else []
    if unreadable:
        say(f"skipped, for they cannot be read: {len(unreadable)} training images")
        for line in unreadable:
            say(f"  {line}")
    after = history[-1]["val_psnr"] if history else ""  # none without a validation set, or where the file was removed
    run.extending.unlink(missing_ok=True)
    say(f"network: {shown_name(run.model)}")
    say(f"curves:  {sys.executable} -m tensorboard.main --logdir {shown_name(run.logs)}")
    if before is not None and after:
        if picture.is_file():
            say(f"picture: {shown_name(picture)}")
        gained = f"{before:.2f} dB blurry, {float(after):.2f} dB restored ({float(after) - before:+.2f} dB)"
        say(f"PSNR, mean of {len(setup.validation)} validation images: {gained}")
