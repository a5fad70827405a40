import numpy as np
import pytest

from deepdeblur_tf.restoration.tiling import spans, tile_shape


@pytest.mark.parametrize("length", [1, 64, 65, 100, 256, 257, 259, 1000, 1281])
@pytest.mark.parametrize("tile, overlap", [(64, 0), (64, 8), (64, 28), (256, 64), (264, 128)])
@pytest.mark.parametrize("grid", [4, 8])
def test_spans_keep_every_pixel_once_and_none_near_a_border(length, tile, overlap, grid):
    cut = spans(length, tile, overlap, grid)
    assert [pixel for span in cut for pixel in range(span.first, span.end)] == list(range(length))
    for span in cut:
        assert 0 <= span.start <= span.first < span.end <= span.stop <= length
        assert span.stop - span.start <= tile
        assert span.start % grid == 0 and (span.stop % grid == 0 or span.stop == length)
        assert span.first % 4 == 0 and (span.end % 4 == 0 or span.end == length)
        assert span.first - span.start >= overlap or span.start == 0
        assert span.stop - span.end >= overlap or span.stop == length


@pytest.mark.parametrize("size", [(720, 1280), (1280, 720), (40, 100000), (3000, 4000)])
@pytest.mark.parametrize("pixels", [1, 10**5, 10**6, 10**9])
@pytest.mark.parametrize("grid", [4, 8])
def test_a_tile_is_as_large_as_allowed(size, pixels, grid):
    height, width = tile_shape(*size, pixels, 64, grid)
    assert height <= size[0] and width <= size[1]
    if pixels >= size[0] * size[1]:
        assert (height, width) == size
    else:
        assert (height % grid == 0 or height == size[0]) and (width % grid == 0 or width == size[1])
        smallest = 4 * 64 + grid
        assert height * width <= max(pixels, smallest**2)
        # No more than a row and a column of the grid is given away.
        assert (height + grid) * (width + grid) >= min(pixels, np.prod(size)) or height * width >= smallest * min(*size)
