import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from skimage.transform import pyramid_gaussian

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import ConfigError, Model
from deepdeblur_tf.data.kinds import find_data
from deepdeblur_tf.data.numpy_call import original_errors
from deepdeblur_tf.data.paired_files import find_pairs
from deepdeblur_tf.data.pipeline import make_datasets, validation_dataset
from deepdeblur_tf.data.protocol import PairsError
from deepdeblur_tf.data.sources import Files, InMemory, OnDisk, spread
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.resizing import imresize
from tests.helpers import ROOT, stream_of


class Numbered:
    """Pairs whose pixels tell where they came from: their row, column and pair; the sharp image is 255 minus that."""

    is_endless = False

    def __init__(self, count=5, height=60, width=72):
        self.shape = (count, height, width)
        self.names = [f"pair {index}" for index in range(count)]

    def __len__(self):
        return self.shape[0]

    def read(self, index):
        _, height, width = self.shape
        blurry = np.zeros((height, width, 3), np.uint8)
        blurry[..., 0] = np.arange(height)[:, None]
        blurry[..., 1] = np.arange(width)
        blurry[..., 2] = index
        return np.concatenate([blurry, 255 - blurry], axis=2)


def stream(source=None, start=0, parallel_calls=-1, **changes):
    settings = {"seed": 3, "epochs": 4, "batch_size": 2, "patch_size": 16, "levels": 3, **changes}
    return stream_of(source or Numbered(), **settings).batches(start, parallel_calls=parallel_calls)


def pixels(level):
    """Back to 8 bits."""
    return np.rint((np.asarray(level) + 0.5) * 255).astype(np.uint8)


def flat(dataset):
    return [[np.asarray(level) for side in batch for level in side] for batch in dataset]


def assert_same(one, other):
    assert len(one) == len(other) > 0
    for batch, other_batch in zip(one, other):
        for level, other_level in zip(batch, other_batch):
            np.testing.assert_array_equal(level, other_level)


def test_shapes_types_and_range():
    (blurry, sharp), *_ = stream()
    assert [level.shape for level in blurry] == [(2, 16, 16, 3), (2, 8, 8, 3), (2, 4, 4, 3)]
    assert [level.shape for level in sharp] == [level.shape for level in blurry]
    assert all(level.dtype == tf.float32 for level in (*blurry, *sharp))
    assert min(float(tf.reduce_min(level)) for level in (*blurry, *sharp)) >= -0.5
    assert max(float(tf.reduce_max(level)) for level in (*blurry, *sharp)) <= 0.5


@pytest.mark.parametrize("levels", [1, 2])
def test_fewer_levels(levels):
    (blurry, sharp), *_ = stream(levels=levels)
    assert len(blurry) == len(sharp) == levels


def test_the_stream_is_the_same_for_any_number_of_threads():
    assert_same(flat(stream(parallel_calls=1)), flat(stream(parallel_calls=8)))


@pytest.mark.parametrize("start_step", [1, 2, 5])
def test_the_stream_may_start_anywhere(start_step):
    assert_same(flat(stream(start=start_step)), flat(stream())[start_step:])


def test_the_stream_depends_on_the_seed():
    assert not np.array_equal(flat(stream())[0][0], flat(stream(seed=4))[0][0])


def test_blurry_and_sharp_stay_a_pair_and_lower_levels_are_matlabs():
    for blurry, sharp in stream():
        for number in range(2):
            fine = pixels(blurry[0][number])
            np.testing.assert_array_equal(pixels(sharp[0][number]), 255 - fine)
            for side in (blurry, sharp):
                np.testing.assert_array_equal(pixels(side[1][number]), imresize(pixels(side[0][number]), 1 / 2))
                np.testing.assert_array_equal(pixels(side[2][number]), imresize(pixels(side[0][number]), 1 / 4))


def patches(epochs=200):
    return np.concatenate([pixels(blurry[0]) for blurry, _ in stream(Numbered(4), epochs=epochs, levels=1)])


def test_every_epoch_shows_every_pair_once_in_another_order():
    order = patches(20)[:, 0, 0, 2].reshape(20, 4)
    assert all(sorted(epoch) == [0, 1, 2, 3] for epoch in order.tolist())
    assert len({tuple(epoch) for epoch in order.tolist()}) > 5


def test_a_pair_left_over_differs_from_epoch_to_epoch():
    seen = np.concatenate([pixels(blurry[0])[:, 0, 0, 2] for blurry, _ in stream(epochs=40, levels=1)]).reshape(40, 4)
    assert all(len(set(epoch)) == 4 for epoch in seen.tolist())
    assert set(seen.ravel()) == {0, 1, 2, 3, 4}


def test_crops_cover_the_image_and_flips_are_independent():
    all_patches = patches()
    top = all_patches[..., 0].min((1, 2))
    left = all_patches[..., 1].min((1, 2))
    assert (top.min(), top.max()) == (0, 60 - 16) and (left.min(), left.max()) == (0, 72 - 16)
    assert abs(np.corrcoef(top, left)[0, 1]) < 0.15
    flipped_up_down = all_patches[:, 0, 0, 0] > all_patches[:, -1, 0, 0]
    flipped_left_right = all_patches[:, 0, 0, 1] > all_patches[:, 0, -1, 1]
    for flip in (flipped_up_down, flipped_left_right):
        assert 0.42 < flip.mean() < 0.58  # 800 patches: 4 standard deviations are 0.07
    assert 0.18 < (flipped_up_down & flipped_left_right).mean() < 0.32


def test_too_few_pairs_for_a_batch_are_refused(small_experiment):
    with pytest.raises(ConfigError, match="training.batch_size: received 7; allowed: .*, 6"):
        make_datasets(small_experiment(**{"training.batch_size": 7}))


@pytest.mark.parametrize("height, width", [(60, 72), (61, 70), (6, 5), (1, 1)])
def test_validation_shows_whole_images(height, width):
    source = Numbered(3, height, width)
    batches = list(validation_dataset(source, Model()))
    assert len(batches) == 3
    for index, (blurry, sharp) in enumerate(batches):
        pair = source.read(index)
        assert sharp[0].shape == (1, height, width, 3)
        np.testing.assert_array_equal(pixels(sharp[0][0]), pair[..., 3:])
        padded = np.pad(pair[..., :3], ((0, -height % 4), (0, -width % 4), (0, 0)), mode="symmetric")
        np.testing.assert_array_equal(pixels(blurry[0][0]), padded)
        np.testing.assert_array_equal(pixels(blurry[2][0]), imresize(padded, 1 / 4))


def test_both_images_of_a_pair_get_the_gaussian_pyramid(scenes):
    class Pairs(Numbered):
        def read(self, index):
            return np.concatenate(scenes[index], axis=2)[: self.shape[1], : self.shape[2]]

    source = Pairs(2, 61, 70)
    batches = [*stream(source, epochs=1, pyramid="gaussian"), *validation_dataset(source, Model(pyramid="gaussian"))]
    for sides in batches:
        for finest, *coarser in sides:
            values = 255 * (np.asarray(finest[0], np.float64) + 0.5)
            padded = np.pad(values, [*((0, -side % 4) for side in values.shape[:2]), (0, 0)], "edge")
            for level, expected in zip(coarser, list(pyramid_gaussian(padded, 2, channel_axis=-1))[1:]):
                np.testing.assert_allclose(255 * (level[0] + 0.5), expected, rtol=0, atol=1e-3)
    for (_, *coarser), (_, *others) in zip(batches[0], next(iter(stream(source)))):
        assert all(np.abs(level - other).max() > 0.005 for level, other in zip(coarser, others))


def test_epochs_of_a_number_of_steps_are_the_same_passes_cut_elsewhere(small_experiment):
    whole = flat(stream(epochs=8))  # passes of 2 steps
    assert_same(flat(stream(epochs=5, steps=3)), whole[:15])
    assert_same(flat(stream(epochs=5, steps=3, start=7)), whole[7:15])
    train, _ = make_datasets(small_experiment(**{"training.steps": 7, "training.epochs": 3}))
    assert len(train) == 21


@pytest.mark.slow
def test_an_experiments_pyramid_reaches_both_datasets(gopro, small_experiment):
    for data in make_datasets(small_experiment(**{"data.root": str(gopro), "model.pyramid": "gaussian"})):
        coarser = [255 * (np.asarray(level) + 0.5) for side in next(iter(data)) for level in side[1:]]
        assert all(np.abs(level - np.rint(level)).max() > 0.1 for level in coarser)  # imresize's are whole numbers


def test_validation_images_are_spread_evenly():
    assert spread(11, 3).tolist() == [0, 5, 10]
    assert spread(2, 20).tolist() == [0, 1]
    assert spread(5, 0).tolist() == spread(0, 5).tolist() == []


@pytest.mark.slow
@pytest.mark.parametrize("cache, kind", [("none", Files), ("memory", InMemory), ("disk", OnDisk)])
def test_every_cache_gives_the_same_stream(gopro, tmp_path, small_experiment, cache, kind):
    def experiment(cache):
        return small_experiment(
            **{"data.root": str(gopro), "data.cache": cache, "data.cache_folder": str(tmp_path / "cache")}
        )

    train, validation = find_data(experiment(cache)).open()
    assert isinstance(train, kind) and isinstance(validation, kind)
    assert_same(flat(make_datasets(experiment(cache))[0]), flat(make_datasets(experiment("none"))[0]))


def test_only_the_images_that_validate_are_opened(gopro, small_experiment):
    experiment = small_experiment(**{"data.root": str(gopro), "validation.images": 1})
    assert find_data(experiment).open()[1].names == ["GOPR0384_11_00/000001"]
    assert len(make_datasets(experiment)[1]) == 1


def test_make_datasets_of_the_embedded_scenes(small_experiment):
    train, validation = make_datasets(small_experiment())
    assert len(train) == 2 * 3 and len(validation) == 2
    assert train.element_spec[0][0].shape[1:] == (32, 32, 3)


class Failing(Numbered):
    """Pairs of which one cannot be read."""

    def __init__(self, message="pair 3: does not decode"):
        super().__init__()
        self.error = ImageError(message)

    def read(self, index):
        if index == 3:
            raise self.error
        return super().read(index)


@pytest.mark.parametrize(
    "dataset",
    [lambda source: stream(source), lambda source: validation_dataset(source, Model(levels=1))],
    ids=["train", "val"],
)
def test_an_images_error_comes_out_of_tf_data_as_it_is(dataset):
    source = Failing()
    with pytest.raises(ImageError) as caught, original_errors():
        list(dataset(source))
    assert caught.value is source.error
    with pytest.raises(tf.errors.OpError, match="ImageError: pair 3: does not decode"):
        list(dataset(source))


def test_a_pair_that_became_too_small_since_it_was_checked_is_named():
    with pytest.raises(PairsError, match="pair [01]: is 72x12 by now, smaller than the 16x16 patch"), original_errors():
        next(iter(stream(Numbered(count=2, height=12))))


def test_each_dataset_raises_its_own_error_in_any_thread():
    sources = [Failing(f"data set {number}") for number in range(8)]

    def caught(source):
        try:
            with original_errors():
                list(stream(source))
        except ImageError as error:
            return error

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(caught, sources)) == [source.error for source in sources]


def test_an_error_of_tensorflow_is_not_taken_for_an_earlier_one_of_an_image():
    with pytest.raises(tf.errors.OpError):
        list(stream(Failing()))
    with pytest.raises(tf.errors.InvalidArgumentError, match="did not hold"), original_errors():
        tf.debugging.assert_equal(tf.constant(1), tf.constant(2))


@pytest.mark.real_data
def test_real_pairs(shared):
    source = Files(find_pairs(shared / "reds", "train").pairs)
    (blurry, sharp), *_ = stream_of(source, patch_size=256, levels=3, epochs=1, batch_size=2).batches()
    assert blurry[0].shape == (2, 256, 256, 3)
    # Blurry and sharp show the same detail: far more alike than two patches of different details.
    same = np.abs(blurry[0] - sharp[0]).mean()
    different = np.abs(blurry[0] - np.asarray(sharp[0])[::-1]).mean()
    assert same < 0.5 * different


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["", "1 / 0"])
def test_a_program_ends_although_an_iterator_is_alive(ending):
    # tf.data's threads are inside of Python then, and the ending interpreter would wait for them for ever.
    code = f"""
import deepdeblur_tf
experiment = deepdeblur_tf.load_experiment("experiments/quickstart.yaml", {{"data.cache": "none"}})
train, validation = deepdeblur_tf.make_datasets(experiment)
iterators = [iter(train), iter(validation)]
print(next(iterators[0])[0][0].shape)
{ending}
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.stdout == "(4, 128, 128, 3)\n"
    assert result.stderr.strip().endswith("ZeroDivisionError: division by zero" if ending else "")
