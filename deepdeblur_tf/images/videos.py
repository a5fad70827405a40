"""Videos, frame by frame with their times, through PyAV (the extra `video`)."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
from collections import Counter, deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from deepdeblur_tf.errors import need
from deepdeblur_tf.images.colours import Decoding, bits_of, colours_of, has_alpha, has_fine_colours, unknown_matrix
from deepdeblur_tf.images.containers import promised_bytes
from deepdeblur_tf.images.opening import ImageError

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".3g2"),
    *(".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".wmv", ".asf", ".flv", ".ogv"),
)

# What a file may be, as ffmpeg calls it. The others are no videos, or name further files to be opened.
_CONTAINERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,asf,flv,ogg"
_PLAYLISTS = (b"ffconcat version", b"#EXTM3U", b"<?xml")
_RESTART = Fraction(3, 10)  # seconds that a stream's time of decoding falls back where a recording begins anew
_LOOKED_AT = 8  # frames at the beginning, for what holds for all of them
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # decoders of the opacity that WebM keeps beside the picture
# What stands beside the pictures and is lost when they are coded anew, by PyAV's names.
_BESIDE = {
    "DOVI_METADATA": "what Dolby Vision adds to the picture",
    "DYNAMIC_HDR_PLUS": "what HDR10+ adds to the picture",
    "A53_CC": "captions within the picture",
    "SPHERICAL": "how a picture all around is projected",
    "STEREO3D": "how a picture for two eyes is laid out",
}


@dataclass(frozen=True)
class Frame:
    """A frame.

    Attributes:
        pixels: uint8 or, from videos of more bits, uint16 [H, W, 3], RGB, upright.
        alpha: Opacity, of the same dtype [H, W]; None for an opaque video.
        time: When it is shown, in ticks of the video.
        ticks: How long; 0 where the file does not tell.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    time: int
    ticks: int


def _plugin(path):
    """The module `av`. Raises UserError, with what to install, where it is missing."""
    need("av", "video", f"{path}: a video")
    import av

    return av


@contextlib.contextmanager
def opened(path):
    """PyAV's container of a local file. Whatever its name looks like, this file and no other is opened.

    Raises:
        ImageError: for a file that is missing, or is no video.
    """
    av = _plugin(path)
    if not os.path.isfile(path):
        what = "is a folder, a pipe or a device, and no" if os.path.exists(path) else "no such"
        raise ImageError(f"{path}: {what} file")
    try:
        file = open(path, "rb")
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    with file:
        head = file.read(32)
        if not head:
            raise ImageError(f"{path}: is empty")
        if head.startswith(_PLAYLISTS):
            raise ImageError(f"{path}: is a playlist, which names other files. Give those files themselves.")
        file.seek(0)
        try:
            container = av.open(file, container_options={"format_whitelist": _CONTAINERS}, **any_text())
        except av.error.FFmpegError as error:
            raise ImageError(f"{path}: not a readable video ({error.strerror})") from error
        with container:
            if not any(_is_picture(stream) for stream in container.streams):
                raise ImageError(f"{path}: holds no video that can be decoded")
            yield container


def any_text() -> dict[str, str]:
    """Options of `av.open` by which entries that are no UTF-8 are read and written as they are."""
    import av

    is_default = int(av.__version__.partition(".")[0]) >= 19
    return {} if is_default else {"metadata_errors": "surrogateescape"}


def is_cover(stream) -> bool:
    """Whether a stream is a picture that stands for the whole file."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _is_picture(stream) -> bool:
    return stream.type == "video" and stream.codec_context is not None and not is_cover(stream)


def picture_of(container):
    """The stream of a container whose frames are restored: the first that is no cover."""
    return next(stream for stream in container.streams if _is_picture(stream))


def _is_avi(container) -> bool:
    """Whether it has the times of decoding alone, which, in order, are those of showing."""
    return container.format.name == "avi"


class _Clock:
    """The times of a container's packets: where a recording begins anew within the file, it follows the one before.

    Attributes:
        restarts: How often that was.
    """

    def __init__(self):
        self.restarts = 0
        self._end = self._shift = Fraction(0)  # seconds; the shift is that of the newest recording
        self._last: dict[int, Fraction] = {}  # time of decoding in the file's own terms, by stream
        self._shifts: dict[int, Fraction] = {}  # a stream may still be in the recording before

    def packets(self, container) -> Iterator[Any]:
        """PyAV's packets that are not empty, in the file's order."""
        for packet in container.demux():
            if not packet.size:
                continue
            stream = packet.stream_index
            if packet.dts is not None and packet.stream.type in ("video", "audio"):
                time, before = packet.dts * packet.time_base, self._shifts.setdefault(stream, self._shift)
                last = self._last.get(stream, time)
                if time < last - _RESTART:
                    # The first stream of a new recording, unless the newest one's shift takes it on from where it was.
                    if before == self._shift or time + self._shift < last + before - _RESTART:
                        self._shift, self.restarts = self._end - time, self.restarts + 1
                    self._shifts[stream] = self._shift
                self._last[stream] = time
                self._end = max(self._end, time + self._shifts[stream] + (packet.duration or 0) * packet.time_base)
            shift = self._shifts.get(stream, self._shift)
            if shift:
                ticks = round(shift / packet.time_base)
                packet.pts, packet.dts = (None if at is None else at + ticks for at in (packet.pts, packet.dts))
            yield packet


class Survey(NamedTuple):
    """What a file holds, as far as it is known without decoding it.

    Attributes:
        frames: How many.
        begin, last: The first and the last frame's time in seconds.
        tick: The unit of frames' times, in seconds.
        packets: The number of packets of each stream.
        sizes: Their bytes.
    """

    frames: int
    begin: Fraction
    last: Fraction
    tick: Fraction
    packets: Counter
    sizes: Counter


def survey(path) -> Survey:
    """Looks through a video without decoding it.

    Raises:
        ImageError: for a file that is no video, or is cut off.
    """
    av = _plugin(path)
    packets: Counter = Counter()
    sizes: Counter = Counter()
    times: list[int] = []
    frames, end = 0, Fraction(0)
    with opened(path) as container:
        picture = picture_of(container)
        tick = Fraction(picture.time_base)
        try:
            for packet in _Clock().packets(container):
                packets[packet.stream_index] += 1
                sizes[packet.stream_index] += packet.size
                time = packet.dts if packet.pts is None or _is_avi(container) else packet.pts
                if time is not None:
                    end = max(end, (time + (packet.duration or 0)) * packet.time_base)
                if packet.stream_index == picture.index and not packet.is_discard:
                    frames += 1
                    times += [] if time is None else [time]
        except av.error.FFmpegError as error:
            raise ImageError(f"{path}: is cut off or damaged; {frames} frames can be read") from error
        if picture.frames:  # as many as are listed
            is_complete = frames >= picture.frames
        else:
            promised = Fraction(container.duration or 0, av.time_base)
            is_complete = container.format.name.startswith("matroska") and end >= promised - Fraction(1, 10)
    if not frames:
        raise ImageError(f"{path}: holds no frame")
    missing = promised_bytes(path) - os.path.getsize(path)
    if missing > 0 and not is_complete:  # or it lacks an index alone, or tells a wrong length
        raise ImageError(f"{path}: is cut off; {missing} bytes are missing after {frames} frames, {float(end):.2f} s")
    return Survey(frames, min(times, default=0) * tick, max(times, default=0) * tick, tick, packets, sizes)


class Video:
    """A video that is open. By `open_video`.

    Attributes:
        path: The file.
        container, stream: PyAV's, the stream being that of the picture.
        tick: Seconds, the unit of frames' times.
        rate: Frames a second on average, or None.
        size: (height, width) of upright frames.
        aspect: Of their pixels, width over height.
        colours: What their values stand for.
        bits: Of a value as it is coded.
        has_alpha: Whether they are transparent.
        has_fine_colours: Whether colours have more than half the resolution, across or down.
        side_data: What stands beside the first frames, by PyAV's names, as bytes.
        remarks: What a user has to know about how it is read, in a few words each.
        damaged: How many of its parts did not decode so far.
    """

    def __init__(self, path, container, first_frames: list, is_deep: bool):
        self.path, self.container, self.stream = path, container, picture_of(container)
        context, first = self.stream.codec_context, first_frames[0]
        self.tick: Fraction = Fraction(self.stream.time_base)
        self.rate: Fraction | None = self.stream.average_rate and Fraction(self.stream.average_rate)
        self.colours = colours_of(context, first.format, first.width, first.height)
        self.bits = bits_of(first.format)
        self.has_fine_colours = has_fine_colours(first.format)
        tags = {key.lower(): value for key, value in self.stream.metadata.items()}
        self._coded_alpha = _WITH_ALPHA.get(context.name) if tags.get("alpha_mode") == "1" else None
        self.has_alpha = self._coded_alpha is not None or has_alpha(first.format)
        beside = [frame.side_data[k] for frame in first_frames for k in range(len(frame.side_data))]
        self.side_data = {data.type.name: bytes(data) for data in beside}
        if not any(self.side_data.get("STEREO3D", b"")[:4]):  # its type, 0 for one eye's picture
            self.side_data.pop("STEREO3D", None)
        is_interlaced = any(frame.interlaced_frame for frame in first_frames)
        self.remarks: list[str] = []
        self.damaged = 0
        if is_interlaced:
            self.remarks.append("interlaced: one whole picture was made of each frame's two halves")
        self.remarks += [f"left out: {name}" for key, name in _BESIDE.items() if key in self.side_data]
        steps = _upright_by(self.side_data.get("DISPLAYMATRIX"))
        if steps is None:
            self.remarks.append("left out: a rotation by no multiple of 90 degrees")
        self._steps = steps or (False, False, False)
        aspect = Fraction(self.stream.sample_aspect_ratio or 1) or Fraction(1)
        self.size = (first.width, first.height) if self._steps[0] else (first.height, first.width)
        self.aspect = 1 / aspect if self._steps[0] else aspect
        self._width, self._height = first.width, first.height
        deep = is_deep and self.bits > 8
        self._decoding = Decoding(self.colours, first.width, first.height, deep, self.has_alpha, is_interlaced)

    def items(self) -> Generator[Any, None, None]:
        """The frames, as `Frame`, and between them the other streams' packets, as PyAV's, in the file's order."""
        import av

        decoder = self.stream.codec_context
        if self._coded_alpha:
            decoder = av.CodecContext.create(self._coded_alpha, "r")
        else:
            decoder.thread_type = "AUTO"
        undated: deque[int] | None = deque() if _is_avi(self.container) else None  # times of decoding
        shown: deque[tuple[int, int]] = deque()  # time and length of the frames that are being converted
        resized, mended, last = 0, 0, None

        def frames(packet) -> Iterator[Frame]:
            nonlocal resized, mended, last
            try:
                decoded = decoder.decode(packet)
            except av.error.FFmpegError:
                self.damaged += 1
                return
            for frame in decoded:
                time = frame.pts if undated is None else undated.popleft() if undated else None
                if time is None or (last is not None and time <= last):
                    time, mended = 0 if last is None else last + 1, mended + 1
                last = time
                resized += (frame.width, frame.height) != (self._width, self._height)
                shown.append((time, frame.duration or 0))
                yield from self._upright(self._decoding(frame), shown)

        clock = _Clock()
        for packet in clock.packets(self.container):
            if packet.stream_index != self.stream.index:
                yield packet
                continue
            if undated is not None and packet.dts is not None:
                undated.append(packet.dts)
            yield from frames(packet)
        yield from frames(None)
        yield from self._upright(self._decoding(None), shown)
        if self.damaged:
            self.remarks.append(f"damaged: {self.damaged} parts do not decode")
        if resized:
            self.remarks.append(f"changing in size: {resized} frames were scaled to that of the first")
        if clock.restarts:
            self.remarks.append(f"several recordings in one file: {clock.restarts + 1}, which follow each other now")
        if mended:
            self.remarks.append(f"times missing or not in order: {mended} frames were given one")

    def _upright(self, arrays: list[np.ndarray], shown: deque) -> Iterator[Frame]:
        transposed, mirrored, upside_down = self._steps
        for array in arrays:
            array = array.transpose(1, 0, 2) if transposed else array
            array = array[::-1] if upside_down else array
            array = np.ascontiguousarray(array[:, ::-1] if mirrored else array)
            alpha = array[..., 3] if self.has_alpha else None
            yield Frame(np.ascontiguousarray(array[..., :3]), alpha, *shown.popleft())


@contextlib.contextmanager
def open_video(path, is_deep: bool = False):
    """Opens a video.

    Args:
        path: The file.
        is_deep: Whether frames of more than 8 bits come as uint16; else as uint8, as all others.

    Raises:
        ImageError: for a file that is no video, or whose colours cannot be computed.
    """
    av = _plugin(path)
    first_frames: list = []
    with opened(path) as container, contextlib.suppress(av.error.FFmpegError):
        for frame in itertools.islice(container.decode(picture_of(container)), _LOOKED_AT):
            first_frames.append(frame)
    if not first_frames:
        raise ImageError(f"{path}: none of its frames decodes")
    with opened(path) as container:
        video = Video(path, container, first_frames, is_deep)
        matrix = unknown_matrix(video.colours)
        if matrix is not None:
            raise ImageError(
                f"{path}: its colours are coded as {matrix}, which cannot be computed here. Convert it to BT.709, or "
                "BT.2020 without constant luminance, first."
            )
        yield video


def _upright_by(matrix: bytes | None) -> tuple[bool, bool, bool] | None:
    """What makes frames upright, from the matrix that says how a player is to turn them.

    Returns:
        Whether to exchange rows and columns, then to mirror left and right, then up and down; None for a matrix of
        another kind.
    """
    if matrix is None:
        return (False, False, False)
    a, b, _, c, d = struct.unpack("=9i", matrix)[:5]  # x' = a x + c y, y' = b x + d y
    if a and d and not b and not c:
        return (False, a < 0, d < 0)
    if b and c and not a and not d:
        return (True, c < 0, b < 0)
    return None


def footage(path) -> tuple[int, float, tuple[int, int]]:
    """(the number of frames, frames a second as it is played, (height, width) in pixels) of a video.

    Raises:
        ImageError: for a file that is no video or cut off, or without the plugin.
    """
    frames = survey(path).frames
    with open_video(path) as video:
        return frames, float(video.rate or 0), video.size


def video_frames(path) -> Generator[np.ndarray, None, None]:
    """A video's frames as they were recorded: none is repeated or dropped to make the frame rate even.

    Yields:
        uint8 [H, W, 3], RGB, upright.

    Raises:
        ImageError: a file that is no video, the plugin is missing; or, at the first gap, a frame that does not decode.
    """
    count = 0
    with open_video(path) as video:
        for item in itertools.chain(video.items(), [None]):
            if video.damaged:
                raise ImageError(f"{path}: is damaged after {count} frames; what comes after them was left out.")
            if isinstance(item, Frame):
                count += 1
                yield item.pixels


def middle_frames(path, *others) -> list[np.ndarray]:
    """The frame in the middle of a video, and of others, which have a frame for each of its own, the same one.

    It is found by its time, for a frame may take two packets, and not every one decodes.

    Returns:
        uint8 [H, W, 3] each.

    Raises:
        ImageError: a file that is no video, the plugin is missing.
    """
    source = survey(path)
    with open_video(path) as video, contextlib.closing(video.items()) as items:
        number = 0
        for item in items:
            if isinstance(item, Frame):
                number, found = number + 1, [item.pixels]
                if item.time * video.tick >= (source.begin + source.last) / 2:
                    break
    for other in others:
        with contextlib.closing(video_frames(other)) as frames:
            found += deque(itertools.islice(frames, number), maxlen=1)
    return found
