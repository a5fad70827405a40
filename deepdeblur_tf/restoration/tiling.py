"""How an image that is too large for the memory is cut into overlapping tiles."""

from __future__ import annotations

import math
from typing import NamedTuple

# Tiles begin and end on pixels that every level of the pyramid has; those of a network whose levels work on cells of
# 2x2 pixels (`shuffle_input`) begin on their cells.
GRID = 4

# Where strangers send pictures, each side has a bound too, JPEG's: a picture of a few rows takes several times the
# memory that its pixels would in a square.
MAX_SIDE = 65_535


class Span(NamedTuple):
    """One tile along one axis, in pixels of the finest level.

    Attributes:
        start: Where the tile begins.
        stop: Where it ends.
        first: The first pixel that is kept of it.
        end: The one after the last.
    """

    start: int
    stop: int
    first: int
    end: int

    def kept(self, level: int) -> slice:
        """The pixels that are kept, in the image's coordinates at a level, 0 for the finest."""
        return slice(self.first >> level, self.end >> level)

    def within(self, level: int) -> slice:
        """The same in the tile's own coordinates."""
        return slice((self.first - self.start) >> level, (self.end - self.start) >> level)


def is_within(height: int, width: int, max_pixels: int) -> bool:
    """Whether a stranger's picture has at most so many pixels, as it is continued to multiples of `GRID`."""
    continued = -(-height // GRID) * -(-width // GRID) * GRID**2
    return max(height, width) <= MAX_SIDE and continued <= max_pixels


def spans(length: int, tile: int, overlap: int, grid: int = GRID) -> list[Span]:
    """Cuts an axis into tiles of one size, evenly spread.

    Args:
        length: The axis in pixels.
        tile: A tile in pixels, a multiple of `grid` above twice the overlap; or `length` and more for a single tile.
        overlap: A multiple of 4. Nothing is kept that lies closer to a border between tiles.
        grid: 4 or 8. Tiles begin at its multiples.
    """
    if tile >= length:
        return [Span(0, length, 0, length)]
    last = -(-length // grid) * grid - tile  # where the last tile starts
    count = 1 + math.ceil(last / (tile - 2 * overlap))
    starts = [last * i // (count - 1) // grid * grid for i in range(count)]
    # Cut in the middle of what two neighbours share, where both are farthest from their borders.
    cuts = [(later + earlier + tile) // 2 // GRID * GRID for earlier, later in zip(starts, starts[1:])]
    return [
        Span(start, min(start + tile, length), first, end)
        for start, first, end in zip(starts, [0, *cuts], [*cuts, length])
    ]


def tile_shape(height: int, width: int, pixels: int, overlap: int, grid: int = GRID) -> tuple[int, int]:
    """The largest tile of at most so many pixels, as square as the image allows.

    Args:
        height: The image's height in pixels.
        width: Its width.
        pixels: What a tile may have. It gets more where it must: a side below four overlaps would throw away more than
            half of itself.
        overlap: In pixels.
        grid: 4 or 8.

    Returns:
        (height, width) of a tile: the image's own, or multiples of `grid`.
    """
    if height > width:
        columns, rows = tile_shape(width, height, pixels, overlap, grid)
        return rows, columns
    side = max(4 * overlap + grid, math.isqrt(pixels) // grid * grid)
    rows = min(height, side)
    return rows, min(width, max(side, pixels // rows // grid * grid))
