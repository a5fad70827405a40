"""A video's colours: what its values stand for, and conversions to and from RGB that keep it so."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

# Matrices between RGB and luma with chroma, by their numbers in ITU-T H.273, table 4, as ffmpeg's filter `scale` calls
# them.
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
# The others' names, for messages.
_OTHERS = {
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "SMPTE ST 2085",
    12: "chromaticity-derived",
    13: "chromaticity-derived with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_BT709, _BT601, _BT2020 = 1, 6, 9
_HDR = (16, 18)  # transfers: PQ and HLG
_UNKNOWN = (0, 2, 3)  # unspecified and reserved; of matrices 0 is RGB, which has none
# Without these flags, ffmpeg is off by up to 3 of 255 in even areas, and repeats colours instead of interpolating them.
_FLAGS = "flags=bicubic+accurate_rnd+full_chroma_int"


class Colours(NamedTuple):
    """How a video's values stand for colours, in the numbers of ITU-T H.273.

    Attributes:
        primaries: Which colours red, green and blue are.
        transfer: The curve from values to light.
        matrix: Of the conversion from RGB to luma and chroma.
        is_full: Whether black and white are 0 and 255, rather than 16 and 235.
    """

    primaries: int
    transfer: int
    matrix: int
    is_full: bool


def colours_of(context, pixel_format, width: int, height: int) -> Colours:
    """A video's colours: what it is tagged with, and for the rest what players assume by its size (mpv's rule).

    Args:
        context: PyAV's codec context of the video.
        pixel_format: Of its first frame; the context may know none.
        width, height: In pixels, as coded.
    """
    default = _BT709 if width >= 1280 or height > 576 else _BT601
    primaries, transfer, matrix = int(context.color_primaries), int(context.color_trc), int(context.colorspace)
    primaries = default if primaries in _UNKNOWN else primaries
    if matrix in _UNKNOWN:
        matrix = _BT2020 if transfer in _HDR else default
    transfer = default if transfer in _UNKNOWN else transfer
    if is_rgb(pixel_format):  # it has no matrix, and its range is not the one that it is to be coded with
        return Colours(primaries, transfer, _BT2020 if transfer in _HDR else default, False)
    return Colours(primaries, transfer, matrix, int(context.color_range) == 2 or pixel_format.name[:4] == "yuvj")


def unknown_matrix(colours: Colours) -> str | None:
    """The name of a matrix that cannot be computed here; None for one that can."""
    return None if colours.matrix in _MATRICES else _OTHERS.get(colours.matrix, f"number {colours.matrix} of H.273")


def is_rgb(pixel_format) -> bool:
    """Whether a pixel format of PyAV's is one of red, green and blue, or of a palette of them."""
    return pixel_format.is_rgb or pixel_format.name == "pal8"


def bits_of(pixel_format) -> int:
    """Bits of a value."""
    return pixel_format.components[0].bits


def _rgb_format(is_deep: bool, with_alpha: bool) -> str:
    """How ffmpeg calls what arrays hold."""
    return ("rgba64le" if is_deep else "rgba") if with_alpha else ("rgb48le" if is_deep else "rgb24")


def has_alpha(pixel_format) -> bool:
    return pixel_format.name == "pal8" or any(component.is_alpha for component in pixel_format.components)


def has_fine_colours(pixel_format) -> bool:
    """Whether colours have more than half the resolution, across or down: 4:4:4 or 4:2:2, RGB or a palette."""
    colours = [component for component in pixel_format.components[1:] if not component.is_alpha]
    width, height = pixel_format.width + 1, pixel_format.height + 1  # halves of odd sides are rounded up
    return pixel_format.name == "pal8" or any(2 * each.width > width or 2 * each.height > height for each in colours)


class Decoding:
    """Turns a video's frames, of a kind that may change on the way, into arrays of one size.

    Args:
        colours: The video's.
        width, height: Of the arrays.
        is_deep: Whether they are uint16.
        with_alpha: Whether they have a fourth channel, of opacity.
        is_interlaced: Whether lines that were recorded one after another are made one picture.
    """

    def __init__(self, colours: Colours, width: int, height: int, is_deep: bool, with_alpha: bool, is_interlaced: bool):
        self._colours, self._size, self._is_interlaced = colours, (width, height), is_interlaced
        self._format = _rgb_format(is_deep, with_alpha)
        self._kind: tuple | None = None
        self._graph: Any = None
        self._white = 65535

    def __call__(self, frame) -> list[np.ndarray]:
        """The arrays that are ready once a frame of PyAV's is there, [H, W, 3 or 4]; None for the frame at the end."""
        kind = None if frame is None else (frame.format.name, frame.width, frame.height)
        arrays = self._pushed(None) if self._graph is not None and kind != self._kind else []
        if frame is None:
            return arrays
        if kind != self._kind:
            self._kind, self._graph = kind, self._new_graph(frame)
        frame.colorspace, frame.color_range = 2, 0  # what is said to the graph counts
        return arrays + self._pushed(frame)

    def _new_graph(self, frame):
        rgb = is_rgb(frame.format)
        full = self._colours.is_full or frame.format.name.startswith(("gray", "ya"))
        self._white = 65535 if rgb else _white(frame.format, full)
        width, height = self._size
        scale = f"w={width}:h={height}:{_FLAGS}"
        if not rgb:
            matrix = _MATRICES[self._colours.matrix]
            scale += f":in_color_matrix={matrix}:in_range={'pc' if full else 'tv'}"
        filters = [("bwdif", "mode=send_frame:deint=interlaced")] if self._is_interlaced else []
        return _graph(frame, [*filters, ("scale", scale), ("format", f"pix_fmts={self._format}")])

    def _pushed(self, frame) -> list[np.ndarray]:
        self._graph.push(frame)
        arrays = []
        while (frame := _pulled(self._graph)) is not None:
            array = frame.to_ndarray()
            arrays.append(_scaled(array, 65535 / self._white) if array.dtype == np.uint16 else array)
        return arrays


class Coding:
    """Turns arrays into frames for an encoder.

    Args:
        colours: What the frames' values are to stand for.
        pixel_format: The encoder's, of luma and chroma.
    """

    def __init__(self, colours: Colours, pixel_format: str):
        self.is_opaque = not pixel_format.startswith("yuva")
        self._colours, self._pixel_format = colours, pixel_format
        self._graph: Any = None

    def __call__(self, array: np.ndarray):
        """A frame of PyAV's of uint8 or uint16 [H, W, 3 or 4]."""
        import av

        deep = array.dtype == np.uint16
        if deep:
            array = _scaled(array, _white(av.VideoFormat(self._pixel_format), self._colours.is_full) / 65535)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format=_rgb_format(deep, array.shape[2] == 4))
        frame.pts = 0
        if self._graph is None:
            matrix, value_range = _MATRICES[self._colours.matrix], "pc" if self._colours.is_full else "tv"
            scale = f"{_FLAGS}:out_color_matrix={matrix}:out_range={value_range}"
            self._graph = _graph(frame, [("scale", scale), ("format", f"pix_fmts={self._pixel_format}")])
        self._graph.push(frame)
        coded = _pulled(self._graph)
        coded.colorspace, coded.color_range = self._colours.matrix, 2 if self._colours.is_full else 1
        if hasattr(coded, "color_primaries"):  # PyAV 17; ProRes takes them from here
            coded.color_primaries, coded.color_trc = self._colours.primaries, self._colours.transfer
        return coded


def _white(pixel_format, is_full: bool) -> int:
    """What ffmpeg makes of white in 16 bits, where it shifts the values of luma and chroma rather than scale them."""
    bits = bits_of(pixel_format)
    return ((1 << bits) - 1) << (16 - bits) if is_full else 255 << 8


def _scaled(array: np.ndarray, factor: float) -> np.ndarray:
    """uint16 [H, W, 3 or 4] with other colours, and its opacity as it is."""
    colours = np.minimum(np.rint(array[..., :3] * np.float32(factor)), 65535).astype(np.uint16)
    return np.concatenate([colours, array[..., 3:]], axis=2)


def _graph(frame, filters: list[tuple[str, str]]):
    import av

    graph = av.filter.Graph()
    size = {"width": frame.width, "height": frame.height}
    nodes = [graph.add_buffer(format=frame.format.name, time_base=Fraction(1, 1000), **size)]
    nodes += [graph.add(name, options) for name, options in filters]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph


def _pulled(graph):
    """The graph's next frame; None where it has none yet."""
    import av

    try:
        return graph.pull()
    except (av.error.BlockingIOError, av.error.EOFError):
        return None
