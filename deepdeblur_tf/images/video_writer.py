"""Videos written as the files that they come from: the picture coded anew, everything beside it copied."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from deepdeblur_tf.images.colours import Coding
from deepdeblur_tf.images.containers import write_aspect, write_packet_counts
from deepdeblur_tf.images.encoders import FORMATS, encoder_for
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.videos import Frame, Survey, Video, any_text, is_cover, opened, survey

_MATROSKA = ("matroska", "webm")
# Containers in which times begin anywhere; what is made of them begins at 0.
_BROADCAST = ("mpegts", "mpeg")
# What entries begin with that MP4 and QuickTime hold in the manner of phones alone.
_PHONES = ("com.", "make", "model")
_AAC_LAYOUTS = {1: "mono", 2: "stereo", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}  # by the number of channels
_MOST_AAC = 96_000  # samples a second
# Entries on the file as it was, which has others now.
_STALE = {"encoder", "major_brand", "minor_version", "compatible_brands", "rotate", "duration", "bps", "alpha_mode"}
_STALE |= {"number_of_bytes", "number_of_frames", "handler_name", "vendor_id", "stereo_mode"}


class _Disk:
    """A file for PyAV to write to. What goes wrong is kept, for PyAV would print the second error and those after it.

    Attributes:
        error: The first, or None. After it nothing is written.
    """

    def __init__(self, file):
        self._file, self.error = file, None

    def write(self, data: bytes) -> int:
        self._try(lambda: self._file.write(data))
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._try(lambda: self._file.seek(offset, whence))

    def tell(self) -> int:
        return self._try(self._file.tell)

    def _try(self, call: Callable[[], int]) -> int:
        if self.error is None:
            try:
                return call()
            except OSError as error:
                self.error = error
        return 0


class VideoWriter:
    """Writes a video, as the one that its frames come from. By `writing`.

    Attributes:
        remarks: In what it is not as it was, in a few words each.
    """

    def __init__(self, path: Path, disk: _Disk, video: Video, source: Survey):
        import av

        self.remarks: list[str] = []
        self._path, self._video, self._suffix = path, video, path.suffix.lower()
        form, details = FORMATS[self._suffix], {}
        metadata = _lasting(video.container.metadata)
        if form in _MATROSKA:
            details["write_crc32"] = "0"  # of what `write_aspect` changes
        elif form != "avi":
            details["movie_timescale"] = str(_common_ticks(video))
            if form != "3gp" and any(key.startswith(_PHONES) for key in metadata):
                details["movflags"] = "use_metadata_tags"
        self._options: dict[str, Any] = {"format": form, "container_options": details, **any_text()}
        self._disk = disk
        self.container = av.open(disk, "w", **self._options)
        container = video.container
        shifted = container.format.name in _BROADCAST and container.start_time is not None
        self._begin = Fraction(container.start_time, av.time_base) if shifted else Fraction(0)
        self._coding, self._stream = self._add_picture(source.frames)
        self._lengths: dict[int, int] = {}  # of frames, by their times
        self._frames, self._last = 0, Fraction(0)
        self._copies: dict[int, Any] = {}  # streams here, by their numbers in the source
        self._recoded: set[int] = set()  # those of them that are not copied
        self._copied: Counter = Counter()  # packets of sounds, by the numbers of the streams here
        self._sizes: Counter = Counter()  # their bytes
        self._counts: dict[int, int] = {}  # packets of the streams here that an AVI counts by them, empty ones too
        self._decoding_times: dict[int, int] = {}  # the last of each stream here
        for stream in container.streams:
            # One without packets is empty, or the list of chapters, which is written by itself.
            if stream.index != video.stream.index and (source.packets[stream.index] or stream.type == "attachment"):
                self._add_copy(stream)
        self.container.metadata.update(metadata)
        if hasattr(container, "chapters"):
            self.container.set_chapters(container.chapters())
        self.container.start_encoding()

    def _add_picture(self, frames: int):
        video = self._video
        encoder, pixel_format, options = encoder_for(self._suffix, video, frames)
        stream = self.container.add_stream(encoder, rate=video.rate or 25, options=dict(options))
        stream.height, stream.width = video.size
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.time_base, context.sample_aspect_ratio = video.tick, video.aspect
        context.color_primaries, context.color_trc, context.colorspace = video.colours[:3]
        context.color_range = 2 if video.colours.is_full else 1
        if encoder == "libx265" and self._suffix != ".mkv":
            context.codec_tag = "hvc1"  # or Apple's players do not play it
        stream.metadata.update(_lasting(video.stream.metadata))
        keeps_alpha = pixel_format.startswith("yuva")
        if self._options["format"] in _MATROSKA:
            if keeps_alpha:
                stream.metadata["alpha_mode"] = "1"
            if video.aspect != 1:
                stream.metadata["stereo_mode"] = "left_right"  # `write_aspect` makes something else of it
        if video.has_alpha and not keeps_alpha:
            self.remarks.append(f"left out: transparency, which {self._suffix} cannot hold; .mov and .webm can")
        if video.has_fine_colours and "420" in pixel_format:
            self.remarks.append("of the colours' resolution half was kept, which is what players expect")
        told = {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"} & video.side_data.keys()
        if told and encoder != "libx265":
            self.remarks.append("left out: how bright the screen was that it was made on, and its brightest pixels")
        bits = 10 if pixel_format.endswith("10le") else 8
        if video.bits > bits:
            self.remarks.append(f"of {video.bits} bits a value, {bits} were kept")
        return Coding(video.colours, pixel_format), stream

    def _add_copy(self, stream) -> None:
        if stream.type == "data" and "timecode" in stream.metadata:
            return  # it is made anew from the entry of that name
        context = stream.codec_context
        codec = "of an unknown kind" if context is None else context.name
        if is_cover(stream) and self._options["format"] == "matroska" and hasattr(self.container, "add_attachment"):
            tags = {key.lower(): value for key, value in stream.metadata.items()}
            named = tags.get("filename", f"cover.{codec}"), tags.get("mimetype", f"image/{codec}")
            self.container.add_attachment(*named, self._cover(stream.index))
            return
        if self._holds(stream):
            copy = self.container.add_stream_from_template(stream, opaque=True)
            copy.time_base = stream.time_base
        elif stream.type == "audio" and context is not None:
            channels = context.layout.nb_channels
            copy = self.container.add_stream("aac", rate=min(context.sample_rate, _MOST_AAC))
            copy.codec_context.layout = _AAC_LAYOUTS.get(channels, "stereo")
            copy.codec_context.bit_rate = 256_000
            self._recoded.add(stream.index)
            self.remarks.append(f"sound ({codec}) coded anew as AAC, for {self._suffix} cannot hold it")
            if channels > 2 and channels not in _AAC_LAYOUTS:
                self.remarks.append(f"of the sound's {channels} channels, 2 were made")
        else:
            kinds = {"audio": "sound", "subtitle": "subtitles", "data": "a stream of data", "video": "a picture"}
            kind = kinds.get(stream.type, stream.type)
            remark = f"left out: {kind} ({codec}), which cannot be copied into {self._suffix}"
            self.remarks += [] if remark in self.remarks else [remark]  # phones have several
            return
        if stream.type == "video" and not is_cover(stream):
            self.remarks.append("several pictures: the first was restored, the others were copied")
        copy.metadata.update(_lasting(stream.metadata))
        copy.disposition = stream.disposition.value
        self._copies[stream.index] = copy
        if codec.startswith(("mp2", "mp3", "ac3", "aac")):
            self._counts[copy.index] = 0

    def _cover(self, index: int) -> bytes:
        """The file of a cover, which Matroska has as an attachment."""
        with opened(self._video.path) as container:
            return bytes(next(container.demux(container.streams[index])))

    def _holds(self, stream) -> bool:
        """Whether a stream can be copied into the container: tried by writing one that holds nothing else."""
        import av

        if stream.type in ("data", "attachment") and not hasattr(self.container, "add_attachment"):  # PyAV 15
            return False
        if stream.type == "data" and stream.name is None:  # ffmpeg would write that nothing is known of it
            return False
        if is_cover(stream) and self._options["format"] != "mp4":  # the others would take it for a video of one frame
            return False
        try:
            with av.open(io.BytesIO(), "w", **self._options) as trial:
                trial.add_stream_from_template(stream, opaque=True)
                trial.start_encoding()
        except (av.error.FFmpegError, ValueError, AttributeError):
            return False
        return True

    def add(self, frame: Frame) -> None:
        """Codes a frame, of the size and dtype of the video's own."""
        pixels = frame.pixels
        if frame.alpha is not None and not self._coding.is_opaque:
            pixels = np.dstack([pixels, frame.alpha])
        coded = self._coding(pixels)
        tick = self._video.tick
        coded.pts, coded.time_base, coded.duration = frame.time - round(self._begin / tick), tick, frame.ticks
        self._lengths[coded.pts] = frame.ticks
        self._last = coded.pts * tick
        self._frames += 1
        self._write(coded)

    def _write(self, frame) -> None:
        """Codes a frame, or with None what is held back, and writes the packets that are ready."""
        with _same_priorities():
            packets = self._stream.encode(frame)
        for packet in packets:
            packet.duration = self._lengths.pop(packet.pts, 0)
            self._mux(packet)

    def _mux(self, packet) -> None:
        self.container.mux(packet)
        if self._disk.error is not None:
            raise self._disk.error

    def copy(self, packet) -> None:
        """Copies a packet of another stream, if the container holds that."""
        import av

        copy = self._copies.get(packet.stream_index)
        if copy is None:
            return
        if packet.stream_index in self._recoded:
            with contextlib.suppress(av.error.InvalidDataError):
                self._write_sound(copy, packet.stream.decode(packet))
            return
        begin = round(self._begin / packet.time_base)
        time, decoding_time = (None if value is None else value - begin for value in (packet.pts, packet.dts))
        last = self._decoding_times.get(copy.index)
        if decoding_time is None and time is not None:  # of the first of those that are reordered
            reordered = 0 if packet.stream.type == "audio" else 20
            decoding_time = time - reordered if last is None else last + 1
        if decoding_time is not None:
            step = math.ceil(copy.time_base / packet.time_base)  # ticks of which the container sees one
            if last is not None and decoding_time < last + step and packet.stream.type == "audio":
                decoding_time = last + step
                time = None if time is None else max(time, decoding_time)
            self._decoding_times[copy.index] = decoding_time
        packet.pts, packet.dts, packet.stream = time, decoding_time, copy
        if copy.index in self._counts and decoding_time is not None:
            self._counts[copy.index] = 1 + round(decoding_time * packet.time_base / copy.time_base)
        if packet.stream.type == "audio":
            self._copied[copy.index] += 1
            self._sizes[copy.index] += packet.size
        self._mux(packet)

    def _write_sound(self, stream, frames: Iterable) -> None:
        for frame in frames:
            if frame is not None and frame.pts is not None:
                frame.pts -= round(self._begin / frame.time_base)
            for packet in stream.encode(frame):
                self._mux(packet)

    def finish(self) -> None:
        """Writes what the encoders hold back, and the end of the file."""
        self._write(None)
        for index in self._recoded:
            self._write_sound(self._copies[index], [*self._video.container.streams[index].decode(None), None])
        self.container.close()
        if self._disk.error is not None:
            raise self._disk.error

    def check(self) -> None:
        """Reads the file back, and adds to the remarks what the container did not take.

        Raises:
            ImageError: it is not whole.
        """
        if self._video.aspect != 1 and self._options["format"] in _MATROSKA:
            write_aspect(self._path, self._video.size, self._video.aspect)
        if self._options["format"] == "avi":
            write_packet_counts(self._path, self._counts)
        found = survey(self._path)
        # Containers cut the packets of PCM anew; they also take a few bytes from each packet of other sounds.
        short = [
            f"stream {index}"
            for index, count in self._copied.items()
            if found.packets[index] < count and found.sizes[index] < self._sizes[index]
        ]
        if found.frames != self._frames or found.last < self._last - max(self._video.tick, found.tick) or short:
            what = f"{found.frames} of {self._frames} frames, to {float(found.last):.3f} s of {float(self._last):.3f}"
            raise ImageError(f"{self._path}: was not written whole: {', '.join([what, *short])}")
        source = self._video.container
        with opened(self._path) as container:
            kept = {key.lower() for key in container.metadata}
            lost = sorted(key for key in _lasting(source.metadata) if key.lower() not in kept)
            chapters = hasattr(source, "chapters") and len(source.chapters()) - len(container.chapters())
        if lost:
            self.remarks.append(f"left out: {', '.join(lost)}, which {self._suffix} cannot hold")
        if chapters:
            self.remarks.append(f"left out: chapters, which {self._suffix} cannot hold")
        elif not hasattr(source, "chapters") and "Chapter #" in source.dumps_format():
            self.remarks.append("left out: chapters, which take PyAV 16, and that Python 3.10")


@contextlib.contextmanager
def _same_priorities() -> Iterator[None]:
    """Leaves the priority of this process's threads as it was, and gives this one's to those that begin within.

    SVT-AV1, begun by root, makes its threads and the one that calls it real-time ones: all other programs starve.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    own = os.sched_getscheduler(0), os.sched_getparam(0)
    before = _policies()
    try:
        yield
    finally:
        for thread, policy in _policies().items():
            if policy != before.get(thread, own[0]):
                with contextlib.suppress(ProcessLookupError):  # it has ended since
                    os.sched_setscheduler(thread, *own)


def _policies() -> dict[int, int]:
    """How each thread of this process is scheduled; none is known but on Linux."""
    policies = {}
    with contextlib.suppress(FileNotFoundError):
        for thread in map(int, os.listdir("/proc/self/task")):
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                policies[thread] = os.sched_getscheduler(thread)
    return policies


def _common_ticks(video: Video) -> int:
    """Ticks a second in which the picture and its sounds can begin late; ffmpeg's own are milliseconds."""
    sounds = [stream.time_base.denominator for stream in video.container.streams.audio]
    ticks = math.lcm(video.tick.denominator, *sounds)
    return ticks if ticks < 10**7 else video.tick.denominator


def _lasting(metadata: dict[str, str]) -> dict[str, str]:
    kept = {key: value for key, value in metadata.items() if key.lower() not in _STALE and key[:1] != "_"}
    if "creation_time" in kept:  # twice where the file has it twice
        kept["creation_time"] = kept["creation_time"].partition(";")[0]
    return kept


@contextlib.contextmanager
def writing(path: Path, video: Video, source: Survey) -> Iterator[VideoWriter]:
    """Writes a video, and reads it back in the end.

    Args:
        path: Where to; its suffix is one of `FORMATS`.
        video: What its frames come from.
        source: What that holds.

    Raises:
        ImageError: it cannot be written, or was not written whole.
        OSError: the disk is full.
    """
    import av

    with open(path, "wb") as file:
        writer = None
        try:
            with _same_priorities():
                writer = VideoWriter(path, _Disk(file), video, source)
            yield writer
            writer.finish()
        except av.error.FFmpegError as error:
            raise ImageError(f"{video.path}: cannot be written as {path.suffix} ({error.strerror})") from error
        finally:
            if writer is not None:
                with contextlib.suppress(Exception):  # after another error, which is the one to be told
                    writer.container.close()
    writer.check()
