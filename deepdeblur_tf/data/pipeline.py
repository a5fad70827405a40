"""From pairs to batches, in the report's order (section 3, Figures 3.1 and 3.2).

Read and decode, concatenate to 6 channels, one random crop of the pair, random flips, split, MATLAB's `imresize` for
the lower levels, float32, minus 0.5, batch, prefetch.

The training stream is a pure function of (seed, sample number): sample n always is the same patch, whatever the number
of threads and wherever the stream starts. So an interrupted run continues with the very batches it would have had.
"""

from __future__ import annotations

import math

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import Augmentation, Experiment, steps_per_epoch
from deepdeblur_tf.data.kinds import find_data
from deepdeblur_tf.data.numpy_call import numpy_call
from deepdeblur_tf.data.protocol import Source
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


def _pair_of_sample(source: Source, number, seed: int, per_pass: int):
    """Which pair a sample is of: each pass has an order of its own, and of an endless source pairs of its own."""
    number = tf.cast(number, tf.int64)
    if source.is_endless:
        return number
    order = tf.stack([tf.constant(seed, tf.int64), number // per_pass])
    return tf.random.experimental.index_shuffle(number % per_pass, order, tf.constant(len(source) - 1, tf.int64))


def batch_names(source: Source, step: int, *, seed: int, batch_size: int) -> list[str]:
    """The names of the images in a training batch.

    Args:
        source: The pairs.
        step: int. The batch's step over the whole training, counted from 1.
        seed: int. The experiment's seed.
        batch_size: int.
    """
    per_pass = len(source) // batch_size * batch_size
    numbers = range((step - 1) * batch_size, step * batch_size)
    return [source.names[int(_pair_of_sample(source, number, seed, per_pass)) % len(source)] for number in numbers]


def _augmented(pair, augmentation: Augmentation, seed):
    """A pair, uint8 [H, H, 6], varied; where its values are no longer whole, float32 in [0, 255]."""
    turn_seed, colour_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    if augmentation.turns:
        quarters = tf.random.stateless_uniform([], turn_seed, 0, 4, tf.int32)
        pair = tf.ensure_shape(tf.image.rot90(pair, quarters), pair.shape)
    if augmentation.colours:
        # Gains alone: they are the same before and after an average, but for what they clip.
        gains = tf.random.stateless_uniform([4], colour_seed, [0.7, 0.9, 0.9, 0.9], [1.1, 1.1, 1.1, 1.1])
        values = tf.cast(pair, tf.float32) * tf.tile(gains[0] * gains[1:], [2])
        pair = tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)
    return _as_the_authors(pair, augmentation, tf.random.experimental.stateless_fold_in(seed, 1))


def _as_the_authors(pair, augmentation: Augmentation, seed):
    """The augmentations of the authors' code, in its order (DeepDeblur_release, DeepDeblur-PyTorch)."""
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 6))
    if augmentation.sharp_input:
        blurry, sharp = tf.split(pair, 2, axis=2)
        chosen = tf.random.stateless_uniform([], seeds[0]) < augmentation.sharp_input
        pair = tf.concat([tf.where(chosen, sharp, blurry), sharp], axis=2)
    if augmentation.channel_order:
        order = tf.argsort(tf.random.stateless_uniform([3], seeds[1]))
        pair = tf.gather(pair, tf.concat([order, 3 + order], axis=0), axis=2)
    if augmentation.saturation:
        chosen = tf.random.stateless_uniform([], seeds[2]) < augmentation.saturation
        factor = tf.where(chosen, tf.random.stateless_uniform([], seeds[3], 0.5, 1.5), 1.0)
        pair = tf.concat([_saturated(image, factor) for image in tf.split(pair, 2, axis=2)], axis=2)
    if augmentation.noise:
        blurry, sharp = tf.split(tf.cast(pair, tf.float32), 2, axis=2)
        deviation = augmentation.noise * tf.random.stateless_normal([], seeds[4])
        noise = deviation * tf.random.stateless_normal(tf.shape(blurry), seeds[5])
        pair = tf.concat([tf.clip_by_value(blurry + noise, 0.0, 255.0), sharp], axis=2)
    return pair


def _saturated(image, factor):
    """[H, W, 3] of 0 to 255 with its saturation in HSV multiplied; float32, clipped as in the PyTorch code."""
    # Hue and value stay, so in RGB every channel's distance from the largest one, the value, is multiplied.
    image = tf.cast(image, tf.float32)
    value = tf.reduce_max(image, axis=2, keepdims=True)
    return tf.clip_by_value(value + factor * (image - value), 0.0, 255.0)


def train_patch(
    source: Source,
    number,
    *,
    seed: int,
    per_pass: int,
    patch_size: int,
    levels: int,
    pyramid: str = "matlab_bicubic",
    augmentation: Augmentation | None = None,
):
    """One training sample.

    Args:
        source: The pairs.
        number: int64 scalar tensor. The sample's number in the whole training, from 0.
        seed: int. The experiment's seed.
        per_pass: int. Samples of a pass over the pairs.
        patch_size: int. Side of the patch in pixels.
        levels: int. Levels of the pyramid.
        pyramid: Its kind, as `build_model` has it. Defaults to "matlab_bicubic".
        augmentation: What is varied beside crops and flips. Defaults to nothing.

    Returns:
        (blurry, sharp), each a tuple of `levels` float32 [side, side, 3] in [-0.5, 0.5], finest first.
    """
    index = _pair_of_sample(source, number, seed, per_pass)
    pair = tf.ensure_shape(numpy_call(source.read, [index], tf.uint8), [None, None, 6])
    own_seed = tf.random.experimental.stateless_fold_in(tf.constant([seed, 0], tf.int64), number)
    crop_seed, left_right_seed, up_down_seed = tf.unstack(tf.random.experimental.stateless_split(own_seed, 3))
    # Both images are cropped and flipped as one, so they stay a pair.
    pair = tf.image.stateless_random_crop(pair, [patch_size, patch_size, 6], crop_seed)
    pair = tf.image.stateless_random_flip_left_right(pair, left_right_seed)
    pair = tf.image.stateless_random_flip_up_down(pair, up_down_seed)
    if augmentation is not None:
        pair = _augmented(pair, augmentation, tf.random.experimental.stateless_fold_in(own_seed, 1))
    return tuple(
        tuple(to_network(level) for level in _patch_levels(image, levels, patch_size, pyramid))
        for image in tf.split(pair, 2, axis=2)
    )


def _own_numbers(start: int, stop: int, batch_size: int, context: tf.distribute.InputContext) -> tf.data.Dataset:
    """The numbers of the samples that a worker makes: its own part of each batch from `start` up to `stop`."""
    own = batch_size // context.num_input_pipelines
    first = own * context.input_pipeline_id
    return tf.data.Dataset.range(start * own, stop * own).map(lambda n: n // own * batch_size + first + n % own)


def train_dataset(
    source: Source,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    patch_size: int,
    levels: int,
    pyramid: str = "matlab_bicubic",
    start_step: int = 0,
    augmentation: Augmentation | None = None,
    steps: int = 0,
    context: tf.distribute.InputContext | None = None,
    parallel_calls: int = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """The batches of a whole training, all epochs in a row.

    Args:
        source: The pairs.
        seed: int. The stream is a function of it.
        epochs: int.
        batch_size: int.
        patch_size: int. Pixels, a multiple of 4.
        levels: int. 1 to 3.
        pyramid: As `build_model` has it. Defaults to "matlab_bicubic".
        start_step: int. The first batch is that of this step, counted from 0 over the whole training.
        augmentation: What is varied beside crops and flips. Defaults to nothing.
        steps: int. Batches an epoch. Defaults to a pass over the pairs, `len(source) // batch_size` batches.
        context: Of a strategy, with whose replicas the batches are shared: this worker's part of each batch comes as
            one smaller batch for each of its replicas. Defaults to whole batches.
        parallel_calls: int. Samples made side by side; changes nothing in the stream.

    Returns:
        Dataset of (blurry, sharp), each a tuple of `levels` float32 [batch, side, side, 3] in [-0.5, 0.5], finest
        first; from `start_step` to the end of the last epoch.
    """
    context = context or tf.distribute.InputContext()
    per_pass = len(source) // batch_size * batch_size
    stop = epochs * (steps or per_pass // batch_size)
    return (
        _own_numbers(start_step, stop, batch_size, context)
        .map(
            lambda number: train_patch(
                source,
                number,
                seed=seed,
                per_pass=per_pass,
                patch_size=patch_size,
                levels=levels,
                pyramid=pyramid,
                augmentation=augmentation,
            ),
            num_parallel_calls=parallel_calls,
            deterministic=True,
        )
        .batch(context.get_per_replica_batch_size(batch_size), drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def validation_dataset(
    source: Source,
    *,
    levels: int,
    pyramid: str = "matlab_bicubic",
    context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Whole images, one a batch, in order, no crop and no flip.

    Args:
        source: The pairs.
        levels: int. 1 to 3.
        pyramid: As `build_model` has it. Defaults to "matlab_bicubic".
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
        blurry, sharp = (to_levels(image, levels, pyramid) for image in tf.split(pair, 2, axis=3))
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
    steps_per_epoch(experiment.training, len(train))  # refuses a batch that is too large
    return (
        train_dataset(
            train,
            seed=experiment.seed,
            epochs=experiment.training.epochs,
            batch_size=experiment.training.batch_size,
            patch_size=experiment.data.patch_size,
            levels=experiment.model.levels,
            pyramid=experiment.model.pyramid,
            augmentation=experiment.augmentation,
            steps=experiment.training.steps,
        ),
        validation_dataset(validation, levels=experiment.model.levels, pyramid=experiment.model.pyramid),
    )
