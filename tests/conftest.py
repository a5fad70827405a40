import os
from collections import Counter

import imageio.v3 as iio
import numpy as np
import pytest

from deepdeblur_tf.config import load_experiment
from deepdeblur_tf.data.scenes import EmbeddedScenes
from tests.helpers import ROOT, SHARED, SMALL, write_network

# The tests' networks are so small that a second thread costs more than it brings, in each of two processes.
for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(name, "1")


def pytest_collection_modifyitems(items):
    """Files with many slow tests first: with one of them at the end, the other process would wait for it."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: slow[item.path], reverse=True)


@pytest.fixture(scope="session")
def shared():
    """The folder of real data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data: {SHARED} is not there")
    return SHARED


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def scenes():
    """Two embedded scenes, (blurry, sharp) uint8 [256, 256, 3] each: pictures where any pictures will do."""
    source = EmbeddedScenes(2, 0, "blur", "validation")
    return [tuple(np.split(source.read(index), 2, axis=2)) for index in range(2)]


@pytest.fixture(scope="session")
def frame(scenes):
    """A larger picture: the first scene's blurry image, mirrored on until it has the size of a frame's quarter."""
    return np.pad(scenes[0][0], ((0, 104), (0, 384), (0, 0)), "symmetric")  # 360x640


@pytest.fixture
def write_pairs(tmp_path, random):
    """Writes pairs of small PNGs: {folder of the blurry: folder of the sharp} below a root."""

    def write(folders, names=("000001.png", "000002.png"), size=(40, 48), root=tmp_path / "data"):
        for pair in folders:
            for folder in pair:
                (root / folder).mkdir(parents=True, exist_ok=True)
                for name in names:
                    image = random.integers(0, 256, (*size, 3), dtype=np.uint8)
                    iio.imwrite(root / folder / name, image)
        return root

    return write


@pytest.fixture
def gopro(write_pairs):
    """A small data set in GOPRO_Large's layout: 2 training scenes and 1 test scene of 2 pairs."""
    return write_pairs(
        [
            ("train/GOPR0372_07_00/blur", "train/GOPR0372_07_00/sharp"),
            ("train/GOPR0374_11_03/blur", "train/GOPR0374_11_03/sharp"),
            ("test/GOPR0384_11_00/blur", "test/GOPR0384_11_00/sharp"),
        ]
    )


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The file of a small network, which changes pictures a little."""
    return write_network(tmp_path_factory.mktemp("model") / "model.keras", 3)


@pytest.fixture
def run(tmp_path):
    """A run's folder, not yet there."""
    return tmp_path / "run"


@pytest.fixture
def small_experiment():
    """The quickstart at a size that trains in a second."""

    def make(**overrides):
        return load_experiment(ROOT / "experiments" / "quickstart.yaml", {**SMALL, **overrides})

    return make
