"""A restored video has every frame at its own time, and everything that stood beside the picture."""

import struct
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from deepdeblur_tf.images import videos
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.videos import middle_frames, video_frames
from deepdeblur_tf.restoration.frames import restore_video
from tests.helpers import frame_times, sound, write_video

av = pytest.importorskip("av")

# Of a phone in low light: even at first, then every other frame, a pause of two seconds, and a last frame.
TICKS = [*range(0, 60, 3), *range(60, 120, 6), 240, 243, 249]


def same(frame):
    return frame


def picture(number=0, height=64, width=96):
    """A picture with a square that moves, and a corner of its own."""
    image = np.full((height, width, 3), 60, np.uint8)
    image[:, ::8] = 90
    left = 2 * number % (width - 20)
    image[24:44, left : left + 16] = (220, 180, 40)
    image[:12, :20] = (230, 30, 30)
    return image


def pictures(count, **size):
    return [picture(number, **size) for number in range(count)]


def described(path):
    """What PyAV tells of a file's streams: their types, names, languages and packets."""
    with av.open(str(path)) as container:
        told = {}
        for packet in container.demux():
            if packet.size:
                told.setdefault(packet.stream_index, []).append((packet.pts, bytes(packet)))
        return [
            (stream.type, stream.codec_context and stream.codec_context.name, stream.language, told.get(stream.index))
            for stream in container.streams
        ]


def rate_of(path):
    with av.open(str(path)) as container:
        return container.streams.video[0].average_rate


def aspect_of(path):
    with av.open(str(path)) as container:
        return container.streams.video[0].sample_aspect_ratio


# Times


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.m4v"])
def test_every_frame_is_shown_when_it_was(tmp_path, name):
    (tmp_path / "in").mkdir()
    source, target = tmp_path / "in" / name, tmp_path / name
    codec = "libvpx-vp9" if name == "a.webm" else "libx264"
    audio = sound(4, codec="libopus" if name == "a.webm" else "aac")
    settings = {"format": "mp4"} if name == "a.m4v" else {}
    tick = Fraction(1, 90) if name[2:] in ("mp4", "mov", "m4v") else Fraction(1, 1000)
    times = TICKS if tick == Fraction(1, 90) else [round(time * 1000 / 90) for time in TICKS]
    frames = pictures(len(times))
    write_video(source, frames, 30, times=times, tick=tick, codec=codec, beside=[audio], **settings)
    assert restore_video(source, target, same) == []
    assert frame_times(source) == frame_times(target)
    assert frame_times(target) == [frame_times(target)[0] + time * tick for time in times]
    with av.open(str(source)) as one, av.open(str(target)) as other:
        assert abs(one.duration - other.duration) <= 40_000  # microseconds: the last frame's length


@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_an_avi_has_as_many_frames_as_before(tmp_path, b_frames):
    write_video(tmp_path / "a.avi", pictures(30), 25, options={"bf": b_frames})
    assert restore_video(tmp_path / "a.avi", tmp_path / "b.avi", same) == []
    with av.open(str(tmp_path / "b.avi")) as container:
        assert container.streams.video[0].frames == 30
        found = [(packet.dts, packet.size > 0) for packet in container.demux(video=0) if packet.dts is not None]
    with av.open(str(tmp_path / "a.avi")) as container:
        first = next(packet.dts for packet in container.demux(video=0))
    assert found == [(first + number, True) for number in range(30)]
    differences = [
        np.abs(one.astype(int) - other).mean() for one, other in zip(pictures(30), video_frames(tmp_path / "b.avi"))
    ]
    assert len(differences) == 30 and max(differences) < 4  # in order


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi"])
def test_the_frame_rate_is_the_same_fraction(tmp_path, name):
    write_video(tmp_path / name, pictures(30), Fraction(24000, 1001))
    restore_video(tmp_path / name, tmp_path / f"b{name}", same)
    assert rate_of(tmp_path / f"b{name}") == Fraction(24000, 1001)


@pytest.mark.parametrize("target", ["b.mp4", "b.mkv"])
@pytest.mark.parametrize("codec", ["ac3", "mp2"])
def test_recordings_in_one_file_follow_each_other_with_their_sound(tmp_path, codec, target):
    """Camcorders' files, one behind the other, each of which begins at its own time."""
    for name, begin in (("a.ts", 100), ("b.ts", 5)):
        times, beside = range(begin, begin + 50), [sound(2, begin=begin / 25, codec=codec)]
        write_video(tmp_path / name, pictures(50), 25, codec="mpeg2video", times=times, beside=beside)
    (tmp_path / "a.mts").write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    remarks = restore_video(tmp_path / "a.mts", tmp_path / target, same)
    assert "several recordings in one file: 2, which follow each other now" in remarks
    times = frame_times(tmp_path / target)
    assert len(times) >= 98 and 3.9 < times[-1] - times[0] < 4.3
    assert max(later - time for time, later in zip(times, times[1:])) < 0.3
    with av.open(str(tmp_path / target)) as container:
        tone = [frame for frame in container.decode(audio=0) if np.abs(frame.to_ndarray()).max() > 0.3]
    clicks = [float(frame.pts * frame.time_base - times[0]) for frame in tone]
    for second in (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5):  # in time with the pictures, before and after the seam
        assert min(abs(click - second) for click in clicks) < 0.2


def clocked(order):
    """(restarts, the pictures' times, the sounds' times) of packets, each (stream, time in tenths of a second)."""

    def packet(stream, time):
        kind = SimpleNamespace(type="video" if stream == 0 else "audio")
        return SimpleNamespace(
            size=1, stream_index=stream, stream=kind, dts=time, pts=time, duration=1, time_base=Fraction(1, 10)
        )

    clock = videos._Clock()
    packets = clock.packets(SimpleNamespace(demux=lambda: iter([packet(*each) for each in order])))
    times = [(each.stream_index, each.dts) for each in packets]
    return (clock.restarts, *([time for stream, time in times if stream == number] for number in (0, 1)))


def test_sound_of_the_recording_before_may_come_late():
    """The parser hands out a recording's last sound when the next one's picture has begun."""
    order = [(0, 100), (1, 98), (0, 101), (1, 99), (0, 10), (1, 100), (1, 101), (0, 11), (1, 10), (0, 12), (1, 11)]
    assert clocked(order) == (1, [100, 101, 102, 103, 104], [98, 99, 100, 101, 102, 103])


def test_sound_that_the_first_recording_lacks_is_in_time_with_the_second():
    assert clocked([(0, 10), (0, 11), (0, 3), (1, 3), (0, 4), (1, 4)]) == (1, [10, 11, 12, 13], [12, 13])


def test_a_stream_that_falls_back_alone_takes_no_other_back():
    order = [
        *((stream, time) for time in range(10, 20) for stream in (0, 1)),
        (1, 12),
        (0, 20),
        (1, 13),
        (0, 2),
        (0, 3),
    ]
    restarts, pictures, _ = clocked(order)
    assert restarts == 2 and pictures == sorted(pictures)


# The shape


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi", "a.webm", "a.m4v"])
def test_pixels_that_are_not_square_stay_so(tmp_path, name):
    form = {"a.webm": "matroska", "a.m4v": "mp4"}.get(name)  # H.264 tells of it itself
    settings = {"format": form} if form else {}
    write_video(tmp_path / name, pictures(5), sample_aspect_ratio=Fraction(64, 45), **settings)
    assert aspect_of(tmp_path / name) == Fraction(64, 45)
    restore_video(tmp_path / name, tmp_path / f"b{name}", same)
    assert aspect_of(tmp_path / f"b{name}") == Fraction(64, 45)


# What the first two columns of tkhd's matrix say (QuickTime File Format, "Matrices"), and what it makes of a picture.
TURNS = {
    "a quarter to the right": ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    "upside down": ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    "a quarter to the left": ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    "mirrored, a quarter": ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
}


def turn(path, numbers):
    """Writes a matrix into the track's header of an MP4."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # version 0: 40 bytes from the version to the matrix
    a, b, c, d = (round(number * 2**16) for number in numbers)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize("case", TURNS)
def test_frames_are_turned_upright_and_no_player_turns_them_again(tmp_path, case):
    numbers, turned = TURNS[case]
    write_video(tmp_path / "a.mp4", pictures(3), sample_aspect_ratio=Fraction(64, 45))
    turn(tmp_path / "a.mp4", numbers)
    assert restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4", same) == []
    expected = turned(picture())
    with av.open(str(tmp_path / "b.mp4")) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 0 and (frame.height, frame.width) == expected.shape[:2]
        aspect = container.streams.video[0].sample_aspect_ratio
        assert aspect == (Fraction(45, 64) if frame.height > frame.width else Fraction(64, 45))
        assert np.abs(frame.to_ndarray(format="rgb24").astype(int) - expected).mean() < 5
    assert middle_frames(tmp_path / "a.mp4")[0].shape == expected.shape


def test_an_odd_turn_is_left_out_and_said(tmp_path):
    write_video(tmp_path / "a.mp4", pictures(3))
    turn(tmp_path / "a.mp4", (0.866, 0.5, -0.5, 0.866))  # 30 degrees
    (remark,) = restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4", same)
    assert remark == "left out: a rotation by no multiple of 90 degrees"


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.mkv", "a.avi"])
def test_odd_sides_stay_odd(tmp_path, name):
    codec, pix_fmt = ("libvpx-vp9", "yuv420p") if name == "a.webm" else ("libx264", "yuv444p")
    write_video(tmp_path / name, pictures(3, height=63, width=97), codec=codec, pix_fmt=pix_fmt)
    restore_video(tmp_path / name, tmp_path / f"b{name}", same)
    assert middle_frames(tmp_path / f"b{name}")[0].shape == (63, 97, 3)


def woven(count):
    """Frames whose even and odd lines were recorded one after another, and how they were at the even lines' time."""
    whole = [picture(4 * number, height=96, width=128) for number in range(2 * count + 2)]
    frames = []
    for number in range(count):
        frame = whole[2 * number].copy()
        frame[1::2] = whole[2 * number + 1][1::2]
        frames.append(frame)
    return frames


def combing(image):
    """How much neighbouring lines differ beside how much those two apart do."""
    lines = image[24:44].astype(float)
    return np.abs(lines[1:-1] - lines[:-2]).mean() / (np.abs(lines[2:] - lines[:-2]).mean() + 1)


def test_interlaced_frames_become_whole_ones_and_it_is_said(tmp_path):
    options = {"crf": "4", "x264-params": "tff=1"}
    write_video(tmp_path / "a.mts", woven(12), 25, options=options, format="mpegts")
    begin = frame_times(tmp_path / "a.mts")[0]
    seen = []
    remarks = restore_video(tmp_path / "a.mts", tmp_path / "a.mp4", lambda frame: seen.append(frame) or frame)
    assert any(remark.startswith("interlaced: ") for remark in remarks)
    assert frame_times(tmp_path / "a.mp4") == [time - begin for time in frame_times(tmp_path / "a.mts")]
    assert combing(woven(12)[6]) > 3 and len(seen) == 12
    assert combing(seen[6]) < 1.5 and combing(middle_frames(tmp_path / "a.mp4")[0]) < 1.5


# What stands beside the picture


def subtitles(tmp_path, times=((0, 1), (1, 1.5))):
    """For `write_video`: SubRip subtitles, which PyAV copies from a file of theirs."""
    stamp = lambda time: f"00:00:{int(time):02d},{round(1000 * (time % 1)):03d}"  # noqa: E731
    blocks = [f"{k}\n{stamp(begin)} --> {stamp(end)}\nline {k}\n" for k, (begin, end) in enumerate(times, 1)]
    (tmp_path / "titles.srt").write_text("\n".join(blocks))

    def add(container):
        with av.open(str(tmp_path / "titles.srt")) as titles:
            stream = container.add_stream_from_template(titles.streams[0])
            stream.metadata["language"] = "ger"
            packets = [packet for packet in titles.demux() if packet.size]
            for packet in packets:
                packet.stream = stream
            return packets

    return add


def test_all_sounds_and_subtitles_are_copied(tmp_path):
    tracks = [sound(1, language="eng"), sound(3, begin=1.25, codec="libmp3lame", language="fre"), subtitles(tmp_path)]
    write_video(tmp_path / "a.mkv", pictures(24), beside=tracks)
    assert restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", same) == []
    before, after = described(tmp_path / "a.mkv"), described(tmp_path / "b.mkv")
    kinds = [(kind, language) for kind, _, language, _ in after if kind != "video"]
    assert kinds == [(kind, language) for kind, _, language, _ in before if kind != "video"]
    assert {language for _, language in kinds} == {"eng", "fre", "ger"}
    beside = [[stream for stream in streams if stream[0] != "video"] for streams in (before, after)]
    assert beside[0] == beside[1]  # every packet with its time


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_sounds_that_are_longer_or_begin_later_are_kept_in_time(tmp_path, name):
    tracks = [sound(2.5, language="eng"), sound(3, begin=1.25, language="fre")]
    write_video(tmp_path / name, pictures(12), beside=tracks)
    assert restore_video(tmp_path / name, tmp_path / f"b{name}", same) == []
    before, after = described(tmp_path / name), described(tmp_path / f"b{name}")
    assert [stream for stream in before if stream[0] == "audio"] == [stream for stream in after if stream[0] == "audio"]
    assert clicks(tmp_path / f"b{name}", 1)[0] == pytest.approx(1.25, abs=0.03)


def clicks(path, number=0):
    """When the tone of `sound` is heard, in seconds."""
    heard = []
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.audio[number]):
            wave = np.abs(frame.to_ndarray().astype(np.float64).reshape(-1))
            loud = np.nonzero(wave > 0.3 * (1 if wave.max() <= 2 else 32768))[0]
            for time in [] if frame.pts is None else frame.time + loud / frame.sample_rate:
                if not heard or time > heard[-1] + 0.25:
                    heard.append(float(time))
    return heard


@pytest.mark.skipif(int(av.__version__.split(".")[0]) < 16, reason="PyAV 15 knows no chapters and no attachments")
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_chapters_and_attachments_are_kept(tmp_path, name):
    def fit(container, stream):
        tick = Fraction(1, 1000)
        chapters = [("one", 0, 1000), ("two", 1000, 2000)]
        container.set_chapters(
            [
                {"id": number, "start": begin, "end": end, "time_base": tick, "metadata": {"title": title}}
                for number, (title, begin, end) in enumerate(chapters)
            ]
        )
        if name == "a.mkv":
            container.add_attachment("font.ttf", "font/ttf", b"letters")

    write_video(tmp_path / name, pictures(24), fit=fit)
    assert restore_video(tmp_path / name, tmp_path / f"b{name}", same) == []
    with av.open(str(tmp_path / f"b{name}")) as container:
        chapters = container.chapters()
        assert [chapter["metadata"]["title"] for chapter in chapters] == ["one", "two"]
        assert [float(chapter["start"] * chapter["time_base"]) for chapter in chapters] == [0, 1]
        if name == "a.mkv":
            (attachment,) = container.streams.attachments
            assert attachment.data == b"letters" and attachment.name == "font.ttf"


PHONE = {
    "creation_time": "2024-05-06T07:08:09.000000Z",
    "location": "+48.1000+011.5000/",
    "com.apple.quicktime.location.ISO6709": "+48.1000+011.5000/",
    "com.apple.quicktime.make": "Maker",
    "com.android.version": "14",
    "title": "Holiday",
}


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_date_and_place_are_kept(tmp_path, name):
    phone = lambda container, stream: container.metadata.update(PHONE)  # noqa: E731
    options = {} if name == "a.mkv" else {"container_options": {"movflags": "use_metadata_tags"}}
    write_video(tmp_path / name, pictures(3), fit=phone, **options)
    assert restore_video(tmp_path / name, tmp_path / f"b{name}", same) == []
    with av.open(str(tmp_path / f"b{name}")) as container:
        found = {key.lower(): value for key, value in container.metadata.items()}
    for key, value in PHONE.items():
        assert found[key.lower()].partition(";")[0].rstrip("/") == value.rstrip("/")


def test_what_a_container_cannot_hold_is_named(tmp_path):
    """A Matroska file by the name of another: a file is what it holds, the result what it is called."""
    note = lambda container, stream: container.metadata.update(MYNOTE="text")  # noqa: E731
    write_video(tmp_path / "a.mkv", pictures(12), beside=[subtitles(tmp_path), sound()], fit=note)
    (tmp_path / "a.mkv").rename(tmp_path / "a.avi")
    remarks = "\n".join(restore_video(tmp_path / "a.avi", tmp_path / "b.avi", same))
    assert "left out: MYNOTE, which .avi cannot hold" in remarks
    assert "left out: subtitles (s" in remarks and "which cannot be copied into .avi" in remarks
    assert len(remarks.splitlines()) == 2


def test_a_second_picture_is_copied_and_said(tmp_path):
    def second(container):
        stream = container.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frames = [av.VideoFrame.from_ndarray(picture(k, 48, 64), "rgb24") for k in range(6)]
        return [packet for frame in [*frames, None] for packet in stream.encode(frame)]

    write_video(tmp_path / "a.mkv", pictures(6), beside=[second])
    (remark,) = restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", same)
    assert remark == "several pictures: the first was restored, the others were copied"
    assert described(tmp_path / "a.mkv")[1] == described(tmp_path / "b.mkv")[1]


def test_a_cover_is_kept_and_is_not_what_is_restored(tmp_path):
    def cover(container):
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
        stream.disposition = av.stream.Disposition.attached_pic.value
        frame = av.VideoFrame.from_ndarray(picture(0, 32, 32), "rgb24")
        return [*stream.encode(frame), *stream.encode(None)]

    write_video(tmp_path / "a.mp4", pictures(6), beside=[cover])
    content = described(tmp_path / "a.mp4")[1][3][0][1]
    assert restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4", same) == []
    assert described(tmp_path / "b.mp4")[1][3][0][1] == content
    assert middle_frames(tmp_path / "b.mp4")[0].shape == (64, 96, 3)
    assert "left out: a picture (png)" in restore_video(tmp_path / "a.mp4", tmp_path / "b.mov", same)[-1]
    if hasattr(av.container.OutputContainer, "add_attachment"):
        restore_video(tmp_path / "a.mp4", tmp_path / "b.mkv", same)
        assert restore_video(tmp_path / "b.mkv", tmp_path / "c.mkv", same) == []
        assert described(tmp_path / "c.mkv")[1][3][0][1] == content


# Other containers

OLD = [
    ("a.mts", "mpegts", "mpeg2video", "ac3"),
    ("a.m2ts", "mpegts", "libx264", "ac3"),
    ("a.mpg", "mpeg", "mpeg2video", "mp2"),
    ("a.wmv", "asf", "wmv2", "wmav2"),
    ("a.vob", "vob", "mpeg2video", "ac3"),
    ("a.flv", "flv", "flv", "libmp3lame"),
]


@pytest.mark.parametrize("name, form, codec, audio", OLD)
def test_what_cannot_be_written_becomes_mp4_in_time(tmp_path, name, form, codec, audio):
    write_video(
        tmp_path / name, pictures(40), 25, codec=codec, options={}, format=form, beside=[sound(1.6, codec=audio)]
    )
    remarks = restore_video(tmp_path / name, tmp_path / "a.mp4", same)
    assert remarks[0] == f"written as .mp4, for {name[1:]} cannot be written"
    before, after = frame_times(tmp_path / name), frame_times(tmp_path / "a.mp4")
    assert [time - after[0] for time in after] == [time - before[0] for time in before]
    # The sound is as far from the picture as it was.
    heard, expected = clicks(tmp_path / "a.mp4"), clicks(tmp_path / name)
    assert len(heard) == len(expected) >= 3
    assert np.subtract(heard, expected) == pytest.approx(float(after[0] - before[0]), abs=0.012)
    recoded = any(remark == "sound (wmav2) coded anew as AAC, for .mp4 cannot hold it" for remark in remarks)
    assert recoded == (audio == "wmav2")


@pytest.mark.parametrize("rate, layout", [(192_000, "stereo"), (48_000, "7.1")])
def test_sound_that_is_coded_anew_keeps_its_channels_and_a_rate_that_aac_has(tmp_path, rate, layout):
    def add(container):
        stream = container.add_stream("pcm_bluray", rate=rate)
        stream.codec_context.layout, stream.codec_context.format = layout, "s16"
        silence = np.zeros((1, rate * stream.codec_context.layout.nb_channels), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, "s16", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        return [*stream.encode(frame), *stream.encode(None)]

    write_video(tmp_path / "a.m2ts", pictures(25), 25, format="mpegts", beside=[add])
    restore_video(tmp_path / "a.m2ts", tmp_path / "a.mp4", same)
    with av.open(str(tmp_path / "a.mp4")) as container:
        (heard,) = container.streams.audio
        assert heard.rate == min(rate, 96_000) and heard.codec_context.layout.name == layout
        assert float(heard.duration * heard.time_base) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name, form", [("a.m4v", "mp4"), ("a.3gp", "3gp")])
def test_mp4s_relatives_stay_what_they_are(tmp_path, name, form):
    write_video(tmp_path / name, pictures(10), format=form, beside=[sound()])
    assert restore_video(tmp_path / name, tmp_path / f"b{name}", same) == []
    assert described(tmp_path / name)[1] == described(tmp_path / f"b{name}")[1]
    assert len(frame_times(tmp_path / f"b{name}")) == 10


@pytest.mark.parametrize("codec", ["libmp3lame", "aac", "mp2"])
def test_an_avis_sound_of_packets_is_counted_by_them(tmp_path, codec):
    """As players need it: 85 packets of 384 bytes each are no 28 of 1152."""
    write_video(tmp_path / "a.avi", pictures(12), beside=[sound(2, codec=codec)])
    assert restore_video(tmp_path / "a.avi", tmp_path / "b.avi", same) == []
    content = (tmp_path / "b.avi").read_bytes()
    at = content.index(b"auds")
    scale, rate, _, length = struct.unpack_from("<4I", content, at + 20)
    assert length == content[content.rindex(b"idx1") :].count(b"01wb")
    assert length * scale / rate == pytest.approx(2, 0.1)
    assert struct.unpack_from("<I", content, at + 44) == (0,)  # they vary in size
    assert described(tmp_path / "a.avi")[1] == described(tmp_path / "b.avi")[1]


@pytest.mark.parametrize("size", [900, 1764, 2500])
def test_pcm_that_is_cut_anew_is_whole(tmp_path, size):
    """Camcorders and editors cut it into pieces of any size; the container cuts it elsewhere, mostly into fewer."""

    def cut(container):
        packets = sound(1.2, codec="pcm_s16le")(container)
        data, pieces = b"".join(map(bytes, packets)), []
        for begin in range(0, len(data), 2 * size):
            packet = av.Packet(data[begin : begin + 2 * size])
            packet.pts = packet.dts = begin // 2
            packet.duration = packet.size // 2
            packet.time_base, packet.stream = packets[0].time_base, packets[0].stream
            pieces.append(packet)
        return pieces

    write_video(tmp_path / "a.mov", pictures(25), 25, codec="mjpeg", pix_fmt="yuvj420p", beside=[cut])
    assert restore_video(tmp_path / "a.mov", tmp_path / "b.mov", same) == []
    before, after = (b"".join(data for _, data in described(tmp_path / name)[1][3]) for name in ("a.mov", "b.mov"))
    assert before == after


@pytest.mark.skipif(int(av.__version__.split(".")[0]) < 16, reason="PyAV 15 copies no data")
@pytest.mark.parametrize("tag, is_kept", [(b"gpmd", True), (b"mebx", False)])
def test_data_beside_the_picture_are_copied_or_named(tmp_path, tag, is_kept):
    """What action cameras (gpmd) and phones (mebx) note beside their pictures."""

    write_video(tmp_path / "a.mov", pictures(12), beside=[sound(0.05, codec="pcm_s16le")])
    content = (tmp_path / "a.mov").read_bytes()
    assert b"mhlrsoun" in content and b"sowt" in content
    (tmp_path / "a.mov").write_bytes(content.replace(b"mhlrsoun", b"mhlrmeta").replace(b"sowt", tag))
    before = described(tmp_path / "a.mov")
    assert before[1][0] == "data" and before[1][3]
    remarks = restore_video(tmp_path / "a.mov", tmp_path / "b.mov", same)
    if is_kept:
        assert remarks == [] and described(tmp_path / "b.mov")[1] == before[1]
        assert b"gpmd" in (tmp_path / "b.mov").read_bytes()
    else:
        assert remarks == ["left out: a stream of data (of an unknown kind), which cannot be copied into .mov"]
        assert len(described(tmp_path / "b.mov")) == 1


# Damage


def test_what_is_damaged_within_is_restored_as_far_as_it_decodes(tmp_path, random):
    write_video(tmp_path / "a.mkv", pictures(60), options={"g": "10", "crf": "10"})
    content = bytearray((tmp_path / "a.mkv").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = random.integers(0, 256, 300, dtype=np.uint8).tobytes()
    (tmp_path / "a.mkv").write_bytes(content)
    seen = []
    restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", lambda frame: seen.append(0) or frame)
    assert 40 < len(seen) <= 60 and len(frame_times(tmp_path / "b.mkv")) == len(seen)


def test_the_frame_in_the_middle_is_the_same_one_before_and_after(tmp_path):
    write_video(tmp_path / "a.mkv", pictures(60), options={"g": "10", "crf": "10"})
    content = bytearray((tmp_path / "a.mkv").read_bytes())
    with av.open(str(tmp_path / "a.mkv")) as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    for packet in packets[11:20]:  # a sixth of the frames does not decode
        at = content.find(packet)
        content[at + 4 : at + len(packet)] = bytes(len(packet) - 4)
    (tmp_path / "a.mkv").write_bytes(content)
    seen = []
    restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", lambda frame: seen.append(0) or frame)
    assert len(seen) < 55
    before, after = middle_frames(tmp_path / "a.mkv", tmp_path / "b.mkv")
    for found in (before, after):
        assert min(range(60), key=lambda number: np.abs(found.astype(int) - picture(number)).mean()) == 30


def test_a_result_that_is_not_whole_is_no_result(tmp_path, monkeypatch):
    from deepdeblur_tf.images import video_writer

    write_video(tmp_path / "a.mp4", pictures(24), beside=[sound(2)])
    whole = video_writer.survey

    def cut_before(path):  # what a disk loses after all was written
        path.write_bytes(path.read_bytes()[:-2000])
        return whole(path)

    monkeypatch.setattr(video_writer, "survey", cut_before)
    with pytest.raises(ImageError, match="b.mp4: (is cut off|not a readable|holds no)"):
        restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4", same)


def test_frames_of_more_than_8_bits_are_restored_with_all_of_them(tmp_path):
    deep = np.arange(64 * 96 * 3, dtype=np.uint16).reshape(64, 96, 3)
    frames = [av.VideoFrame.from_ndarray(deep, "rgb48le")]
    write_video(tmp_path / "a.mkv", frames, codec="ffv1", options={}, pix_fmt="gbrp16le")
    seen = []
    restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", lambda frame: seen.append(frame) or frame)
    np.testing.assert_array_equal(seen[0], deep)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov", ".webm"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (10, 8), (32, 48), (64, 34), (64, 64)])
def test_the_smallest_videos_of_more_than_8_bits(tmp_path, suffix, size):
    deep = np.full((*size, 3), 30000, np.uint16)
    frames = [av.VideoFrame.from_ndarray(deep, "rgb48le") for _ in range(4)]
    write_video(tmp_path / "a.mkv", frames, codec="ffv1", options={}, pix_fmt="gbrp16le")
    remarks = restore_video(tmp_path / "a.mkv", tmp_path / f"b{suffix}", same)
    bits = 8 if suffix == ".webm" and min(size) < 64 else 10
    assert f"of 16 bits a value, {bits} were kept" in remarks
    with av.open(str(tmp_path / f"b{suffix}")) as container:
        shown = [frame.to_ndarray(format="rgb48le") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.pix_fmt.endswith("10le") == (bits == 10)
    assert len(shown) == 4 and shown[0].shape == deep.shape
    np.testing.assert_allclose(shown[0], deep, atol=600)
