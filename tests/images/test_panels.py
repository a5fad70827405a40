import numpy as np
import pytest

from deepdeblur_tf.images.panels import details, overview, worst_details


@pytest.mark.parametrize("side", [7, 8])
def test_details_are_where_the_error_is_largest(side):
    sharp = np.full((60, 90, 3), 100, np.uint8)
    restored = sharp.copy()
    restored[20 : 20 + side, 50 : 50 + side] += 90  # the worst square
    restored[40 : 40 + side, 3 : 3 + side] += 60
    restored[21, 30] += 10
    assert worst_details([restored], sharp, side, 2) == [(50, 20), (3, 40)]


def test_details_do_not_overlap_and_lie_within(random):
    sharp, restored = random.integers(0, 256, (2, 33, 41, 3), dtype=np.uint8)
    corners = worst_details([restored], sharp, 16, 100)
    assert 2 <= len(corners) <= 4
    for index, (left, top) in enumerate(corners):
        assert 0 <= left <= 41 - 16 and 0 <= top <= 33 - 16
        assert all(abs(left - x) >= 16 or abs(top - y) >= 16 for x, y in corners[:index])


def test_details_show_the_pixels_enlarged(random):
    images = random.integers(0, 256, (3, 60, 80, 3), dtype=np.uint8)
    panels = list(zip(("blurry", "restored", "sharp"), images))
    picture = details(panels, [(10, 20)], 40, "a/b")
    # The last panel's inside, past its frame, is the sharp image's in double size.
    crop = np.repeat(np.repeat(images[2][20:60, 10:50], 2, axis=0), 2, axis=1)
    np.testing.assert_array_equal(picture[24 + 2 : 24 + 78, -78:-2], crop[2:78, 2:78])


def test_an_overview_is_reduced_not_cropped(random):
    image = random.integers(0, 256, (100, 1000, 3), dtype=np.uint8)
    assert overview([image, image], ["a", "b"], "name").shape == (24 + 24 + 64, 640 * 2 + 4, 3)
    assert overview([image[:50, :50]], ["a"], "name").shape == (24 + 24 + 50, 50, 3)
