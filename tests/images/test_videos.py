"""Videos are read and written with their colours: what a player shows of the result is what it shows of the source."""

import itertools
import os
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from deepdeblur_tf.images.containers import promised_bytes, write_aspect
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.videos import Frame, footage, middle_frames, open_video, survey, video_frames
from deepdeblur_tf.restoration.frames import restore_video
from tests.helpers import sound, write_video

av = pytest.importorskip("av")

# Red's and blue's shares of luma, by the number of the matrix in ITU-T H.273: ITU-R BT.709 and BT.601 (item 3 and
# section 2.5.1), BT.2020 (table 4).
SHARES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
VALUES = np.array([[r, g, b] for r in (0, 255, 128, 40) for g in (0, 255, 128, 200) for b in (0, 255, 128, 90)])
BT709, BT470BG, SMPTE170M, BT2020, UNKNOWN = 1, 5, 6, 9, 2
HLG, PQ = 18, 16
FULL, LIMITED = 2, 1


def patches(height, width):
    """64 even patches of saturated and mixed colours, and where they are at least 16 pixels from a border."""
    sides = height // 8, width // 8
    image = np.repeat(np.repeat(VALUES.reshape(8, 8, 3), sides[0], 0), sides[1], 1).astype(np.uint8)
    inner = np.zeros(sides, bool)
    inner[16:-16, 16:-16] = True
    return image, np.tile(inner, (8, 8))


def planes(rgb, matrix, value_range, bits=8):
    """Luma and chroma at half the resolution, by the standards' formulas; rgb in [0, 1]."""
    red, blue = SHARES[matrix]
    r, g, b = np.moveaxis(rgb, -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    chroma = [(b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))]
    chroma = [plane[::2, ::2] / 2 + plane[1::2, ::2] / 2 for plane in chroma]
    one = 1 << (bits - 8)
    if value_range == FULL:
        coded = [y * (256 * one - 1), *(plane * (256 * one - 1) + 128 * one for plane in chroma)]
    else:
        coded = [(16 + 219 * y) * one, *((128 + 224 * plane) * one for plane in chroma)]
    return [np.clip(np.rint(plane), 0, 256 * one - 1).astype(np.uint8 if bits == 8 else np.uint16) for plane in coded]


def frame_of(values, pixel_format):
    """A frame of PyAV's that holds such planes."""
    height, width = values[0].shape
    frame = av.VideoFrame(width, height, pixel_format)
    for plane, content in zip(frame.planes, values):
        padded = np.zeros((content.shape[0], plane.line_size // content.itemsize), content.dtype)
        padded[:, : content.shape[1]] = content
        plane.update(padded.tobytes())
    return frame


def coded(path, number=0):
    """A frame's planes as they are coded, unconverted, and the codec's (matrix, primaries, transfer, range)."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        frame = next(itertools.islice(container.decode(video=0), number, None))
        dtype = np.uint8 if "10" not in frame.format.name else np.uint16
        values = []
        for plane in frame.planes:
            rows = np.frombuffer(bytes(plane), dtype).reshape(plane.height, -1)
            values.append(rows[:, : plane.width])
        return values, (context.colorspace, context.color_primaries, context.color_trc, context.color_range)


def shown(path):
    """A video's first frame as the standards' formulas turn it into RGB by its tags, [0, 1]; and the tags."""
    (y, u, v), tags = coded(path)
    one = 1 if y.dtype == np.uint8 else 4
    u, v = (plane.astype(float).repeat(2, 0).repeat(2, 1) - 128 * one for plane in (u, v))
    if tags[3] == FULL:
        y, u, v = (plane / (256 * one - 1) for plane in (y, u, v))
    else:
        y, u, v = (y / one - 16) / 219, u / one / 224, v / one / 224
    red, blue = SHARES[tags[0] if tags[0] in SHARES else BT709 if y.shape[1] >= 1280 else SMPTE170M]
    rgb = [y + 2 * (1 - red) * v, None, y + 2 * (1 - blue) * u]
    rgb[1] = (y - red * rgb[0] - blue * rgb[2]) / (1 - red - blue)
    return np.clip(np.stack(rgb, axis=-1), 0, 1), tags


def write_patches(path, image, matrix, value_range, tags):
    """Three frames by a conversion that is named, with the tags (matrix, primaries, transfer) that are given."""
    is_webm = path.suffix == ".webm"
    codec, speed = ("libvpx-vp9", {"cpu-used": "8"}) if is_webm else ("libx264", {"preset": "fast"})
    frames = [frame_of(planes(image / 255, matrix, value_range), "yuv420p") for _ in range(3)]
    tagged = dict(zip(("colorspace", "color_primaries", "color_trc"), tags))
    write_video(path, frames, codec=codec, options={"crf": "6", **speed}, color_range=value_range, **tagged)


CASES = [
    # Phones: HDR, and European standard definition.
    ("a.mov", (400, 640), BT2020, LIMITED, (BT2020, 9, HLG), (BT2020, 9, HLG)),
    ("a.mp4", (400, 640), BT470BG, LIMITED, (BT470BG, 5, 6), (BT470BG, 5, 6)),
    # Without tags players go by the size.
    ("a.mp4", (720, 1280), BT709, LIMITED, (UNKNOWN,) * 3, (BT709,) * 3),
    ("a.mp4", (400, 640), SMPTE170M, LIMITED, (UNKNOWN,) * 3, (SMPTE170M,) * 3),
    ("a.avi", (400, 640), BT709, LIMITED, (BT709, UNKNOWN, UNKNOWN), (BT709, SMPTE170M, SMPTE170M)),
]
GRID = [
    pytest.param(f"a.{suffix}", (720, 1280), matrix, kind, (matrix,) * 3, (matrix,) * 3, marks=pytest.mark.slow)
    for suffix, matrix, kind in itertools.product(("mp4", "mkv", "webm"), (BT709, SMPTE170M), (LIMITED, FULL))
]


@pytest.mark.parametrize("name, size, matrix, value_range, tags, expected", CASES + GRID)
def test_colours_are_read_and_written_as_players_show_them(tmp_path, name, size, matrix, value_range, tags, expected):
    image, inner = patches(*size)
    (tmp_path / "in").mkdir()
    source, target = tmp_path / "in" / name, tmp_path / name
    write_patches(source, image, matrix, value_range, tags)
    frames = []
    restore_video(source, target, lambda frame: frames.append(frame) or frame)
    before, after = 255 * shown(source)[0], 255 * shown(target)[0]
    found = shown(target)[1]
    assert found[3] == value_range and len(frames) == 3
    assert found[:3] == expected or (name.endswith("webm") and found[0] == expected[0])
    assert abs(before - image)[inner].max() <= 3  # the source is as it was meant
    assert abs(frames[0] - before)[inner].max() <= 1.5
    assert abs(after - before)[inner].max() <= 3.5  # by 41 with the other matrix
    assert abs(middle_frames(target)[0] - after)[inner].max() <= 2


@pytest.mark.parametrize("codec", ["png", "ffv1"])
def test_an_rgb_video_is_read_as_it_is(tmp_path, codec):
    image, _ = patches(80, 80)
    if codec == "png":
        write_video(tmp_path / "a.mov", [image], codec="png", options={}, pix_fmt="rgb24")
        (tmp_path / "a.mov").rename(tmp_path / "a.mkv")
    else:  # 10 bits
        frame = frame_of([image[..., channel].astype(np.uint16) * 4 for channel in (1, 2, 0)], "gbrp10le")
        write_video(tmp_path / "a.mkv", [frame], codec="ffv1", options={}, pix_fmt="gbrp10le")
        image = np.rint(image * 4.0 / 1023 * 65535)
    frames = []
    restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", lambda frame: frames.append(frame) or frame)
    assert frames[0].dtype == (np.uint8 if codec == "png" else np.uint16)
    assert np.abs(frames[0] - image.astype(float)).max() <= (codec != "png")  # 1 of 65535
    assert shown(tmp_path / "b.mkv")[1][3] == LIMITED


@pytest.mark.parametrize("matrix, name", [(8, "YCgCo"), (10, "constant luminance"), (14, "ICtCp")])
def test_a_matrix_that_cannot_be_computed_is_refused_with_advice(tmp_path, matrix, name):
    image, _ = patches(80, 80)
    write_patches(tmp_path / "a.mkv", image, BT709, LIMITED, (matrix, 1, 1))
    with pytest.raises(ImageError, match=f"a.mkv: its colours are coded as .*{name}.*Convert it to BT.709"):
        restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", lambda frame: frame)
    assert not (tmp_path / "b.mkv").exists()


def ramp(matrix=BT2020):
    """A grey ramp through all of 10 bits, with a little colour, as planes."""
    steps = np.linspace(0, 1, 768)[None, :, None] * np.ones((64, 1, 3))
    return planes(steps, matrix, LIMITED, bits=10)


LOSSLESS = {"x265-params": "lossless=1:log-level=none:bframes=0"}


def write_ramp(path, transfer, codec="libx265", options=LOSSLESS):
    """Three frames of the ramp, tagged as HDR."""
    tags = {"colorspace": BT2020, "color_primaries": 9, "color_trc": transfer, "color_range": LIMITED}
    frames = [frame_of(ramp(), "yuv420p10le") for _ in range(3)]
    write_video(path, frames, codec=codec, options=options, pix_fmt="yuv420p10le", **tags)


@pytest.mark.parametrize("name, transfer", [("a.mp4", PQ), ("a.mov", HLG), ("a.mkv", HLG), ("a.webm", PQ)])
def test_10_bits_stay_10_bits_with_their_tags(tmp_path, name, transfer):
    (tmp_path / "in").mkdir()
    source, target = tmp_path / "in" / name, tmp_path / name
    if name == "a.webm":
        write_ramp(source, transfer, codec="libsvtav1", options={"crf": "1"})
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # which that encoder changes
    else:
        write_ramp(source, transfer)
    policies = set()

    def restored(frame):
        policies.update(os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task"))
        return frame

    remarks = restore_video(source, target, restored)
    assert policies | {os.sched_getscheduler(0)} == {os.SCHED_OTHER}
    values, found = coded(target)
    assert values[0].dtype == np.uint16 and found == (BT2020, 9, transfer, LIMITED) and remarks == []
    expected = coded(source)[0]
    assert np.abs(values[0].astype(int) - expected[0]).mean() < 1.5
    assert len(np.unique(values[0])) > 700  # of 877; in 8 bits there are 220
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.name in ("hevc", "libdav1d", "av1")


def test_deep_frames_reach_their_reader_at_full_precision(tmp_path):
    write_ramp(tmp_path / "a.mp4", HLG)
    with open_video(tmp_path / "a.mp4", is_deep=True) as video:
        deep = next(item for item in video.items() if isinstance(item, Frame)).pixels
    expected = 65535 * np.clip((ramp()[0] / 4.0 - 16) / 219, 0, 1)
    assert deep.dtype == np.uint16 and deep.max() == 65535
    assert np.abs(deep - expected[..., None]).max() < 48  # a step of 10 bits is 64
    assert next(video_frames(tmp_path / "a.mp4")).dtype == np.uint8


def test_hdr10s_brightness_is_kept(tmp_path):
    screen = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    options = {"x265-params": f"log-level=none:bframes=0:hdr10=1:master-display={screen}:max-cll=1000,400"}
    write_ramp(tmp_path / "a.mp4", PQ, options=options)
    restore_video(tmp_path / "a.mp4", tmp_path / "b.mp4", lambda frame: frame)
    for name in ("a.mp4", "b.mp4"):
        with open_video(tmp_path / name) as video:
            numbers = struct.unpack("=22i", video.side_data["MASTERING_DISPLAY_METADATA"])
            assert numbers[0] / numbers[1] == 0.68 and numbers[18] / numbers[19] == 1000
            assert struct.unpack("=2I", video.side_data["CONTENT_LIGHT_LEVEL"][:8]) == (1000, 400)


# Transparency


def transparent(height=64, width=96):
    """uint8 [H, W, 4], opacity rising from left to right."""
    picture = np.zeros((height, width, 4), np.uint8)
    picture[..., :3] = (200, 120, 40)
    picture[..., 3] = np.linspace(0, 255, width)
    return picture


@pytest.mark.parametrize("name", ["a.webm", "a.mov", "a.mkv"])
def test_transparency_is_kept_where_the_codec_can(tmp_path, name):
    (tmp_path / "in").mkdir()
    source, target = tmp_path / "in" / name, tmp_path / name
    frames = [av.VideoFrame.from_ndarray(transparent(), "rgba") for _ in range(4)]
    if name == "a.webm":
        alpha = lambda container, stream: stream.metadata.update(alpha_mode="1")  # noqa: E731
        options = {"crf": "4", "auto-alt-ref": "0"}
        write_video(source, frames, codec="libvpx-vp9", pix_fmt="yuva420p", options=options, fit=alpha)
    elif name == "a.mov":
        write_video(source, frames, codec="prores_ks", pix_fmt="yuva444p10le", options={"profile": "4444"})
    else:
        write_video(source, frames, codec="ffv1", pix_fmt="yuva420p", options={})
    restore_video(source, target, lambda frame: frame)
    with open_video(target) as video:
        found = [item.alpha for item in video.items() if isinstance(item, Frame)]
    assert len(found) == 4
    assert np.abs(found[1].astype(int) - transparent()[..., 3]).max() <= 4


def test_transparency_that_cannot_be_kept_is_named(tmp_path):
    frames = [av.VideoFrame.from_ndarray(transparent(), "rgba")]
    write_video(tmp_path / "a.avi", frames, codec="ffv1", pix_fmt="yuva420p", options={})
    (remark,) = restore_video(tmp_path / "a.avi", tmp_path / "b.avi", lambda frame: frame)
    assert "left out: transparency, which .avi cannot hold" in remark


@pytest.mark.parametrize(
    "codec, pixel_format, is_fine",
    [("libx264", "yuv422p", True), ("ffv1", "bgr0", True), ("libx264", "yuv420p", False)],
)
def test_colours_at_less_resolution_are_said(tmp_path, codec, pixel_format, is_fine):
    write_video(tmp_path / "a.mkv", [transparent()[..., :3]] * 2, codec=codec, pix_fmt=pixel_format, options={})
    remarks = restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", lambda frame: frame)
    assert ("of the colours' resolution half was kept, which is what players expect" in remarks) == is_fine


# Files


def playlist(kind, name):
    if kind == "ffconcat":
        return f"ffconcat version 1.0\nfile {name}\n"
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{name}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize("kind", ["ffconcat", "hls"])
def test_playlists_are_refused_that_name_other_files(tmp_path, kind):
    write_video(tmp_path / "secret.ts", [patches(80, 80)[0]] * 3, format="mpegts")
    (tmp_path / "a.mp4").write_text(playlist(kind, "secret.ts"))
    with pytest.raises(ImageError, match="a.mp4: is a playlist"):
        survey(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_text("# " + playlist(kind, "secret.ts"))
    with pytest.raises(ImageError, match="b.mp4: not a readable video"):
        survey(tmp_path / "b.mp4")


@pytest.mark.parametrize(
    "name",
    ["12:30.mp4", "concat:a.mp4|b.mp4", "subfile,,start,0,end,9,,:a.mp4", "http:/host/x.mp4", "file:a.mp4", "-y.mp4"]
    + ["100%d.mp4", b"caf\xe9.mp4"],
)
def test_any_name_is_that_of_a_local_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(name)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    write_video(tmp_path / "plain.mp4", [patches(80, 80)[0]] * 3).rename(name)
    assert footage(name) == (3, 12, (80, 80))
    target = Path(name).with_name("out " + Path(name).name)
    assert restore_video(name, target, lambda frame: frame) == []
    assert survey(target).frames == 3


def test_files_that_are_no_videos(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    write_video(tmp_path / "sound.mp4", [patches(80, 80)[0]], beside=[sound()])
    for name, reason in (("text", "not a readable video"), ("empty", "is empty"), ("none", "no such file")):
        with pytest.raises(ImageError, match=f"{name}.mp4: {reason}"):
            footage(tmp_path / f"{name}.mp4")
    with pytest.raises(ImageError, match="is a folder, a pipe or a device"):
        footage(tmp_path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi", "a.wmv"])
def test_a_file_that_is_cut_off_is_refused_before_a_frame_is_restored(tmp_path, random, name):
    noise = random.integers(0, 256, (30, 64, 96, 3), dtype=np.uint8)
    codec = {".webm": "libvpx-vp9", ".wmv": "wmv2"}.get(name[1:], "libx264")
    settings = {"container_options": {"movflags": "faststart"}} if name[2:] in ("mp4", "mov") else {}
    whole = write_video(tmp_path / name, noise, codec=codec, **settings).read_bytes()
    assert survey(tmp_path / name).frames == 30
    restored = []
    for percent in range(5, 95, 7):
        (tmp_path / name).write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(ImageError, match=f"{name}: (is cut off|not a readable|holds no)"):
            restore_video(tmp_path / name, tmp_path / f"b{name}", restored.append)
    assert restored == []


def test_what_lacks_at_the_end_but_holds_all_frames_is_read(tmp_path):
    """An index that is cut off, and a length of one's own making."""
    frames = [patches(80, 80)[0]] * 12
    whole = write_video(tmp_path / "a.mkv", frames).read_bytes()
    (tmp_path / "a.mkv").write_bytes(whole[:-20])
    assert promised_bytes(tmp_path / "a.mkv") == len(whole) and survey(tmp_path / "a.mkv").frames == 12
    whole = bytearray(write_video(tmp_path / "a.avi", frames).read_bytes())
    whole[4:8] = struct.pack("<I", len(whole) + 1000)
    (tmp_path / "a.avi").write_bytes(whole)
    assert survey(tmp_path / "a.avi").frames == 12


def test_metadata_in_another_encoding_do_not_stop_a_video(tmp_path):
    title = lambda container, stream: container.metadata.update(title="cafX")  # noqa: E731
    content = write_video(tmp_path / "a.avi", [patches(80, 80)[0]] * 2, fit=title).read_bytes()
    (tmp_path / "a.avi").write_bytes(content.replace(b"cafX", b"caf\xe9"))
    restore_video(tmp_path / "a.avi", tmp_path / "b.avi", lambda frame: frame)
    assert b"caf\xe9" in (tmp_path / "b.avi").read_bytes()


@pytest.mark.parametrize(
    "mode, remarks", [("left_right", ["left out: how a picture for two eyes is laid out"]), ("mono", [])]
)
def test_what_a_picture_for_two_eyes_loses_is_said(tmp_path, mode, remarks):
    fit = lambda container, stream: stream.metadata.update(stereo_mode=mode)  # noqa: E731
    write_video(tmp_path / "a.mkv", [patches(80, 80)[0]] * 2, fit=fit)
    with open_video(tmp_path / "a.mkv", is_deep=False) as video:
        assert video.remarks == remarks


@pytest.mark.parametrize("size, aspect", [((64, 96), (64, 45)), ((576, 720), (16, 11)), ((1080, 1440), (4, 3))])
def test_a_matroska_files_aspect_is_read_by_ffmpeg(tmp_path, size, aspect):
    two = lambda container, stream: stream.metadata.update(stereo_mode="left_right")  # noqa: E731
    frames = [np.zeros((*size, 3), np.uint8)] * 2
    settings = {"format": "webm", "container_options": {"write_crc32": "0"}, "fit": two}
    write_video(tmp_path / "a.webm", frames, codec="libvpx-vp9", **settings)
    write_aspect(tmp_path / "a.webm", size, Fraction(*aspect))
    with av.open(str(tmp_path / "a.webm")) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(*aspect)
        assert stream.metadata.get("stereo_mode", "mono") == "mono"
        assert sum(1 for _ in container.decode(stream)) == 2
