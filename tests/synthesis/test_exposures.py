"""GOPRO's arithmetic."""

import numpy as np
import pytest

from deepdeblur_tf.synthesis.exposures import gamma_mean, mean


@pytest.mark.parametrize("count", [3, 7, 9, 11, 13])
def test_the_means_are_exact(random, count):
    frames = random.integers(0, 256, (count, 67, 131, 3), dtype=np.uint8)
    frames[:, :8] = random.choice([0, 255], (count, 8, 131, 3))
    values = frames.astype(np.float64)
    np.testing.assert_array_equal(mean(frames), np.rint(values.mean(axis=0)))
    light = np.mean((values / 255) ** 2.2, axis=0)
    np.testing.assert_array_equal(gamma_mean(frames), np.rint(255 * light ** (1 / 2.2)))


def test_the_means_of_known_frames():
    frames = [np.full((2, 2, 3), value, np.uint8) for value in (0, 0, 255, 10, 3, 7, 1)]
    assert mean(frames)[0, 0, 0] == 39  # 276 / 7 = 39.43
    frames = [np.full((2, 2, 3), value, np.uint8) for value in (0, 0, 255)]
    assert mean(frames)[0, 0, 0] == 85
    assert gamma_mean(frames)[0, 0, 0] == 155  # 255 / 3^(1/2.2) = 154.76
    same = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    np.testing.assert_array_equal(gamma_mean([same] * 7), same)
