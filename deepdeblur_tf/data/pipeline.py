"""From pairs to batches, in the report's order (section 3, Figures 3.1 and 3.2).

Read and decode, concatenate to 6 channels, one random crop of the pair, random flips, split, MATLAB's `imresize` for
the lower levels, float32, minus 0.5, batch, prefetch.

The training stream is a pure function of (seed, sample number): sample n always is the same patch, whatever the number
of threads and wherever the stream starts. So an interrupted run continues with the very batches it would have had.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import Experiment, Model, steps_per_epoch
from deepdeblur_tf.data.augmentation import augmented
from deepdeblur_tf.data.kinds import find_data
from deepdeblur_tf.data.numpy_call import numpy_call
from deepdeblur_tf.data.protocol import PairsError, Source
from deepdeblur_tf.model import to_levels, to_network
from deepdeblur_tf.pyramid import pyramid as in_graph_pyramid
from deepdeblur_tf.resizing import imresize


def _patch_levels(image, levels: int, size: int, pyramid: str) -> list:
    """[size, size, 3] of 0 to 255 to the list of its levels, by the NumPy `imresize` as in the report's Figure 3.2."""
    if pyramid == "gaussian":
        made = in_graph_pyramid(image[None], levels, pyramid)
        return [tf.ensure_shape(level[0], [size >> k, size >> k, 3]) for k, level in enumerate(made)]
    if image.dtype != tf.uint8:
        image = tf.cast(tf.round(image), tf.uint8)
    result = [image]
    for factor in (2, 4)[: levels - 1]:
        level = numpy_call(lambda pixels, f=factor: imresize(pixels, 1 / f), [image], tf.uint8)
        result.append(tf.ensure_shape(level, [size // factor, size // factor, 3]))
    return result


def _own_numbers(start: int, stop: int, batch_size: int, context: tf.distribute.InputContext) -> tf.data.Dataset:
    """The numbers of the samples that a worker makes: its own part of each batch from `start` up to `stop`."""
    own = batch_size // context.num_input_pipelines
    first = own * context.input_pipeline_id
    return tf.data.Dataset.range(start * own, stop * own).map(lambda n: n // own * batch_size + first + n % own)


@dataclass(frozen=True)
class Stream:
    """The batches of a whole training, all epochs in a row, as its experiment has them.

    Attributes:
        experiment: The experiment.
        source: The training pairs.
    """

    experiment: Experiment
    source: Source

    @property
    def epoch_steps(self) -> int:
        """The steps of an epoch. Raises ConfigError where there are fewer pairs than one batch takes."""
        return steps_per_epoch(self.experiment.training, len(self.source))

    @property
    def steps(self) -> int:
        """The steps of the training."""
        return self.epoch_steps * self.experiment.training.epochs

    def _index(self, number):
        """Which pair a sample is of: each pass has an order of its own, and of an endless source pairs of its own."""
        number = tf.cast(number, tf.int64)
        if self.source.is_endless:
            return number
        batch_size, count = self.experiment.training.batch_size, len(self.source)
        per_pass = count // batch_size * batch_size
        order = tf.stack([tf.constant(self.experiment.seed, tf.int64), number // per_pass])
        return tf.random.experimental.index_shuffle(number % per_pass, order, tf.constant(count - 1, tf.int64))

    def names(self, step: int) -> list[str]:
        """The names of the images in the batch of a step, counted from 1 over the whole training."""
        batch_size, source = self.experiment.training.batch_size, self.source
        numbers = range((step - 1) * batch_size, step * batch_size)
        return [source.names[int(self._index(number)) % len(source)] for number in numbers]

    def _pair(self, index: int) -> np.ndarray:
        """A pair of the source, in which there is a patch: its files may have been replaced since they were checked."""
        pair, size = self.source.read(index), self.experiment.data.patch_size
        if min(pair.shape[:2]) < size:
            height, width = pair.shape[:2]
            name = self.source.names[int(index) % len(self.source)]
            raise PairsError(f"{name}: is {width}x{height} by now, smaller than the {size}x{size} patch. Take it out.")
        return pair

    def patch(self, number):
        """One training sample.

        Args:
            number: int64 scalar tensor. The sample's number in the whole training, from 0.

        Returns:
            (blurry, sharp), each a tuple of `model.levels` float32 [side, side, 3] in [-0.5, 0.5], finest first.
        """
        experiment, size = self.experiment, self.experiment.data.patch_size
        pair = tf.ensure_shape(numpy_call(self._pair, [self._index(number)], tf.uint8), [None, None, 6])
        own_seed = tf.random.experimental.stateless_fold_in(tf.constant([experiment.seed, 0], tf.int64), number)
        crop_seed, left_right_seed, up_down_seed = tf.unstack(tf.random.experimental.stateless_split(own_seed, 3))
        # Both images are cropped and flipped as one, so they stay a pair.
        pair = tf.image.stateless_random_crop(pair, [size, size, 6], crop_seed)
        pair = tf.image.stateless_random_flip_left_right(pair, left_right_seed)
        pair = tf.image.stateless_random_flip_up_down(pair, up_down_seed)
        pair = augmented(pair, experiment.augmentation, tf.random.experimental.stateless_fold_in(own_seed, 1))
        return tuple(
            tuple(map(to_network, _patch_levels(image, experiment.model.levels, size, experiment.model.pyramid)))
            for image in tf.split(pair, 2, axis=2)
        )

    def batches(
        self,
        start: int = 0,
        stop: int | None = None,
        context: tf.distribute.InputContext | None = None,
        parallel_calls: int = tf.data.AUTOTUNE,
    ) -> tf.data.Dataset:
        """The batches.

        Args:
            start: The first one is that of this step, counted from 0 over the whole training.
            stop: The last one is that of the step before this one. Defaults to the training's end.
            context: Of a strategy, with whose replicas the batches are shared: this worker's part of each batch comes
                as one smaller batch for each of its replicas. Defaults to whole batches.
            parallel_calls: Samples made side by side; changes nothing in the stream.

        Returns:
            Dataset of (blurry, sharp), each a tuple of `model.levels` float32 [batch, side, side, 3] in [-0.5, 0.5],
            finest first.
        """
        context, batch_size = context or tf.distribute.InputContext(), self.experiment.training.batch_size
        return (
            _own_numbers(start, self.steps if stop is None else stop, batch_size, context)
            .map(self.patch, num_parallel_calls=parallel_calls, deterministic=True)
            .batch(context.get_per_replica_batch_size(batch_size), drop_remainder=True)
            .prefetch(tf.data.AUTOTUNE)
        )


def validation_dataset(
    source: Source, model: Model, context: tf.distribute.InputContext | None = None
) -> tf.data.Dataset:
    """Whole images, one a batch, in order, no crop and no flip.

    Args:
        source: The pairs.
        model: The network's settings: levels and pyramid.
        context: Of a strategy, over whose replicas the images are shared out. The dataset then begins again after
            ceil(images / replicas) steps, and each element has a third entry, int32: 1, or 0 for an image that is
            only there because every replica needs one. Defaults to none.

    Returns:
        Dataset of (blurry, sharp), each a tuple of `levels` float32 tensors in [-0.5, 0.5], finest first. Sides that
        are no multiple of 2 ** (levels - 1) are continued as `pyramid.padded_pyramid` does, except in the finest sharp
        image, which keeps its own size [1, H, W, 3]: the measures cover exactly the image.
    """

    def whole(index):
        pair = tf.ensure_shape(numpy_call(source.read, [index], tf.uint8), [None, None, 6])[None]
        blurry, sharp = (to_levels(image, model.levels, model.pyramid) for image in tf.split(pair, 2, axis=3))
        return blurry, (to_network(pair[..., 3:]), *sharp[1:])

    numbers, element = tf.data.Dataset.range(len(source)), whole
    if context is not None and context.num_replicas_in_sync > 1:
        replicas = context.num_replicas_in_sync
        numbers = _own_numbers(0, math.ceil(len(source) / replicas), replicas, context).repeat()

        def element(number):
            return (*whole(number % len(source)), tf.cast(number < len(source), tf.int32))

    return numbers.map(element, num_parallel_calls=2, deterministic=True).prefetch(1)


def make_datasets(experiment: Experiment) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    """The datasets of an experiment, ready for `fit`.

    `train` holds all epochs in a row, so give `fit` the steps of one:

        train, validation = deepdeblur_tf.make_datasets(experiment)
        epochs = experiment.training.epochs
        trainer.fit(train, epochs=epochs, steps_per_epoch=len(train) // epochs, validation_data=validation)

    Args:
        experiment: From `deepdeblur_tf.load_experiment`.

    Returns:
        (train, validation). Elements are (blurry, sharp), each a tuple of `model.levels` float32 [N, H, W, 3] in
        [-0.5, 0.5], finest first. `train` gives random patches, `validation` whole images, one a batch.

    Raises:
        PairsError, ImageError: what is wrong with the data, by the file's name. A file that fails only when it is
            decoded raises them from `Trainer.fit`, whatever `data.on_error` says, for there is no run to list it in;
            elsewhere it is a `tf.errors.OpError` unless the datasets are used within
            `data.numpy_call.original_errors`.

    Example:
        >>> import deepdeblur_tf
        >>> overrides = {"data.scenes": 4, "training.epochs": 1}
        >>> experiment = deepdeblur_tf.load_experiment("experiments/quickstart.yaml", overrides)
        >>> train, validation = deepdeblur_tf.make_datasets(experiment)
        >>> blurry, sharp = next(iter(train))
        >>> [tuple(level.shape) for level in blurry]
        [(4, 128, 128, 3), (4, 64, 64, 3), (4, 32, 32, 3)]
    """
    train, validation = find_data(experiment).open()
    return Stream(experiment, train).batches(), validation_dataset(validation, experiment.model)
