"""What holds for every input, tried on many."""

import contextlib
import tempfile
from operator import attrgetter
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepdeblur_tf import config
from deepdeblur_tf.config import ConfigError, load_experiment, to_yaml
from deepdeblur_tf.data.paired_files import find_pairs
from deepdeblur_tf.data.protocol import PairsError
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.rgb import read_rgb
from deepdeblur_tf.pyramid import pyramid
from deepdeblur_tf.resizing import imresize
from deepdeblur_tf.yaml_text import shown
from tests.helpers import ROOT

sizes = st.integers(1, 40)
seeds = st.integers(0, 2**32 - 1)


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@settings(deadline=None)
@given(seeds, sizes, sizes, sizes, sizes)
def test_imresize_turns_with_its_input(seed, height, width, new_height, new_width):
    image = noise(seed, height, width, 3)
    resized = imresize(image, output_shape=(new_height, new_width))
    assert resized.shape == (new_height, new_width, 3) and resized.dtype == np.uint8
    # As doubles: a sum that ends in exactly one half may be rounded either way from the other end.
    exact, turned = (
        imresize(one.astype(float), output_shape=(new_height, new_width)) for one in (image, image[:, ::-1])
    )
    np.testing.assert_allclose(turned, exact[:, ::-1], atol=1e-9)
    # Each colour by itself.
    np.testing.assert_array_equal(imresize(image[..., 1], output_shape=(new_height, new_width)), resized[..., 1])


@settings(deadline=None)
@given(st.integers(0, 255), sizes, sizes, st.floats(0.1, 3))
def test_imresize_leaves_a_plain_area_plain(value, height, width, scale):
    resized = imresize(np.full((height, width, 3), value, np.uint8), scale)
    assert (resized == value).all()


@settings(deadline=None, max_examples=50)
@given(seeds, st.integers(1, 12), st.integers(1, 12))
def test_the_pyramid_in_the_graph_is_imresize(seed, rows, columns):
    image = noise(seed, 4 * rows, 4 * columns, 3)
    for level, factor in zip(pyramid(image[None], 3), (1, 2, 4)):
        np.testing.assert_array_equal(level[0], imresize(image, 1 / factor))


values = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**32 - 1),
        "data.patch_size": st.integers(1, 64).map(lambda n: 4 * n),
        "data.blur": st.sampled_from(["blur", "blur_gamma"]),
        "model.upsampling": st.sampled_from(["pixel_shuffle", "transposed_conv"]),
        "model.kernel_size": st.integers(0, 5).map(lambda n: 2 * n + 1),
        "model.global_skip": st.booleans(),
        "training.learning_rate": st.floats(1e-12, 1e3),
        "training.decay.epochs": st.lists(st.integers(1, 2**31 - 1), unique=True).map(sorted),
        "training.decay.factor": st.floats(0.01, 0.99),
        "training.on_nan": st.sampled_from(["stop", "skip"]),
        "validation.samples": st.integers(0, 100),
    },
)


@settings(deadline=None, max_examples=50)
@given(values)
def test_settings_survive_being_written_and_read(overrides):
    experiment = load_experiment(ROOT / "experiments" / "quickstart.yaml", overrides)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_text(to_yaml(experiment), encoding="utf-8")
        assert load_experiment(path) == experiment
    for key, value in overrides.items():
        found = experiment
        for part in key.split("."):
            found = getattr(found, part)
        assert found == value


@settings(deadline=None, max_examples=50)
@given(st.text("abcdefghijklmnopqrstuvwxyz_.", min_size=1))
def test_a_key_that_is_no_setting_is_always_named(key):
    if key in config.SETTINGS or any(known.startswith(f"{key}.") for known in config.SETTINGS):
        return
    with pytest.raises(ConfigError) as error:
        load_experiment(ROOT / "experiments" / "quickstart.yaml", {key: 1})
    assert "no setting" in str(error.value) and key in str(error.value)


@settings(deadline=None, max_examples=100)
@given(st.text() | st.text("[]{}:,-\n\"'&*!#%@`| .0123456789abcdefxnl_"))
def test_any_text_is_an_experiment_or_refused(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "experiment.yaml")
        path.write_text(text, encoding="utf-8")
        with contextlib.suppress(ConfigError):
            load_experiment(path)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1e-3", "[4, 5]", "["])
anything = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=3), scalars, max_size=2)


# Settings that are refused beside others, once they are of their types.
TOGETHER = {
    "data.blurry": ("data.sharp: received ",),
    "data.sharp": ("data.sharp: received ",),
    "training.warmup": ("training.warmup: received ",),
}


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(sorted(config.SETTINGS)), anything)
def test_any_value_is_of_the_settings_type_or_refused_by_name(key, value):
    default = attrgetter(key)(config.Experiment(name="x"))
    try:
        found = attrgetter(key)(load_experiment(ROOT / "experiments" / "gopro_pixel_shuffle.yaml", {key: value}))
    except ConfigError as error:
        assert str(error).startswith((f"{key}: received {shown(value)}; allowed: ", *TOGETHER.get(key, ())))
    else:
        assert type(found) is (float if config.SETTINGS[key] == config.PositiveFloat else type(default))


names = st.sets(st.text("abc01", min_size=1, max_size=3), max_size=5)


@settings(deadline=None, max_examples=50)
@given(names, names)
def test_pairs_are_all_images_or_an_error(blurry, sharp):
    with tempfile.TemporaryDirectory() as folder:
        for kind, chosen in (("input", blurry), ("target", sharp)):
            Path(folder, kind).mkdir()
            for name in chosen:
                iio.imwrite(Path(folder, kind, f"{name}.png"), np.zeros((4, 4, 3), np.uint8))
        if blurry == sharp and blurry:
            pairs = find_pairs(folder, "train").pairs
            assert [pair.name for pair in pairs] == sorted(blurry)
            assert all(pair.blurry.name == pair.sharp.name for pair in pairs)
        else:
            with pytest.raises(PairsError) as error:
                find_pairs(folder, "train")
            if blurry != sharp:
                assert any(name in str(error.value) for name in blurry ^ sharp)


def damaged(random, content):
    """A file's content cut off, with flipped bits, with an absurd header, or of something else."""
    content = bytearray(content)
    kind = random.integers(5)
    if kind == 0:
        return bytes(content[: random.integers(len(content))])
    if kind == 1:
        for place in random.integers(0, len(content), random.integers(1, 4)):
            content[place] ^= 1 << random.integers(8)
    elif kind == 2:
        content[16 + random.integers(13)] = random.integers(256)  # IHDR: width, height, depth, colour, ...
    elif kind == 3:
        start = random.integers(len(content))
        content[start : start + random.integers(1, 60)] = random.bytes(random.integers(60))
    else:
        return random.bytes(random.integers(2000))
    return bytes(content)


@pytest.mark.real_data
def test_1000_damaged_pngs_are_the_right_picture_or_refused_by_name(tmp_path, shared, random):
    # PNG has checksums, so nothing may pass silently; JPEG and BMP have none, there a wrong pixel cannot be noticed.
    frame = iio.imread(shared / "gopro" / "test" / "GOPR0384_11_00" / "blur" / "000001.png")[300:340, 500:548]
    path = tmp_path / "frame.png"
    iio.imwrite(path, frame)
    content, refused = path.read_bytes(), 0
    for _ in range(1000):
        path.write_bytes(damaged(random, content))
        try:
            np.testing.assert_array_equal(read_rgb(path), frame)
        except ImageError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
    assert refused > 900
