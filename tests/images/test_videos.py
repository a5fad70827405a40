"""Videos keep their colours: what a player shows of the result is what it shows of the source."""

import itertools
import re
import subprocess

import numpy as np
import pytest

from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.videos import middle_frame, restore_video

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()

# Red's and blue's shares of luma: ITU-R BT.709 and BT.601 (item 3 and section 2.5.1), BT.2020 (table 4).
SHARES = {
    "bt709": (0.2126, 0.0722),
    "smpte170m": (0.299, 0.114),
    "bt470bg": (0.299, 0.114),
    "bt2020nc": (0.2627, 0.0593),
}
FFMPEG_MATRIX = {"smpte170m": "bt601", "bt470bg": "bt601", "bt2020nc": "bt2020"}
VALUES = np.array([[r, g, b] for r in (0, 255, 128, 40) for g in (0, 255, 128, 200) for b in (0, 255, 128, 90)])


def patches(height, width):
    """64 even patches of saturated and mixed colours, and where they are at least 16 pixels from a border."""
    sides = height // 8, width // 8
    image = np.repeat(np.repeat(VALUES.reshape(8, 8, 3), sides[0], 0), sides[1], 1).astype(np.uint8)
    inner = np.zeros(sides, bool)
    inner[16:-16, 16:-16] = True
    return image, np.tile(inner, (8, 8))


def write(path, image, matrix, value_range, tags):
    """Three frames by a conversion that is named, with the tags that are given."""
    codec = ["libvpx-vp9", "-b:v", "0", "-cpu-used", "8"] if path.suffix == ".webm" else ["libx264", "-preset", "fast"]
    conversion = (
        f"scale=flags=accurate_rnd+full_chroma_int:out_color_matrix={FFMPEG_MATRIX.get(matrix, matrix)}"
        f":out_range={value_range},setparams={tags}"
    )
    size = f"{image.shape[1]}x{image.shape[0]}"
    line = [FFMPEG, "-v", "error", "-f", "rawvideo", "-s", size, "-pix_fmt", "rgb24", "-r", "10", "-i", "-"]
    line += ["-vf", conversion, "-pix_fmt", "yuv420p", "-c:v", *codec, "-crf", "6", str(path)]
    subprocess.run(line, input=image.tobytes() * 3, check=True)


def shown(path, height, width):
    """(ffmpeg's words on the colours, the first frame as the standard's formulas turn it into RGB by its tags)."""
    told = subprocess.run([FFMPEG, "-i", str(path)], capture_output=True, text=True, check=False).stderr
    words = re.search(r"Video: .*?(yuvj?420p\([^)]*\))", told)[1]
    # The planes as they are coded, unconverted.
    planes = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", words.partition("(")[0], "-"]
    coded = subprocess.run([FFMPEG, "-v", "error", "-i", str(path), *planes], capture_output=True, check=True).stdout
    y, u, v = np.split(np.frombuffer(coded, np.uint8).astype(float), [height * width, height * width * 5 // 4])
    y = y.reshape(height, width)
    u, v = (plane.reshape(height // 2, width // 2).repeat(2, 0).repeat(2, 1) - 128 for plane in (u, v))
    full = "(pc" in words
    y, u, v = (y / 255, u / 255, v / 255) if full else ((y - 16) / 219, u / 224, v / 224)
    red, blue = SHARES[
        next(name for name in (*SHARES, "") if name in words) or ("bt709" if width >= 1280 else "smpte170m")
    ]
    rgb = [y + 2 * (1 - red) * v, None, y + 2 * (1 - blue) * u]
    rgb[1] = (y - red * rgb[0] - blue * rgb[2]) / (1 - red - blue)
    return words, np.clip(np.round(255 * np.stack(rgb, axis=-1)), 0, 255)


def tagged(matrix, value_range, primaries=None, transfer=None):
    return (
        f"colorspace={matrix}:color_primaries={primaries or matrix}:color_trc={transfer or matrix}:range={value_range}"
    )


CASES = [
    # Phones: HDR, and European standard definition.
    (
        "a.mov",
        (400, 640),
        "bt2020nc",
        "tv",
        tagged("bt2020nc", "tv", "bt2020", "arib-std-b67"),
        "bt2020nc/bt2020/arib-std-b67",
    ),
    (
        "a.mp4",
        (400, 640),
        "bt470bg",
        "tv",
        tagged("bt470bg", "tv", "bt470bg", "smpte170m"),
        "bt470bg/bt470bg/smpte170m",
    ),
    # Without tags players go by the size.
    ("a.mp4", (720, 1280), "bt709", "tv", "colorspace=unknown", "(tv, bt709"),
    ("a.mp4", (400, 640), "smpte170m", "tv", "colorspace=unknown", "(tv, smpte170m"),
    ("a.avi", (400, 640), "bt709", "tv", "colorspace=bt709", "bt709/smpte170m/smpte170m"),
]


GRID = [
    pytest.param(
        f"a.{suffix}", (720, 1280), matrix, kind, tagged(matrix, kind), f"({kind}, {matrix}", marks=pytest.mark.slow
    )
    for suffix, matrix, kind in itertools.product(("mp4", "mkv", "webm"), ("bt709", "smpte170m"), ("tv", "pc"))
]


@pytest.mark.parametrize("name, size, matrix, value_range, tags, words", CASES + GRID)
def test_colours_are_read_and_written_as_players_show_them(tmp_path, name, size, matrix, value_range, tags, words):
    image, inner = patches(*size)
    (tmp_path / "in").mkdir()
    source, target = tmp_path / "in" / name, tmp_path / name
    write(source, image, matrix, value_range, tags)
    frames = []
    restore_video(source, target, lambda frame: frames.append(frame) or frame)
    _, before = shown(source, *size)
    told, after = shown(target, *size)
    assert words in told and len(frames) == 3
    assert abs(before - image)[inner].max() <= 3  # the source is as it was meant
    assert abs(frames[0] - before)[inner].max() <= 1
    assert abs(after - before)[inner].max() <= 3  # by 41 with the other matrix
    assert abs(middle_frame(target) - after)[inner].max() <= 2


def test_an_rgb_video_is_read_as_it_is(tmp_path):
    image, _ = patches(400, 400)
    line = [FFMPEG, "-v", "error", "-f", "rawvideo", "-s", "400x400", "-pix_fmt", "rgb24", "-r", "10", "-i", "-"]
    subprocess.run(
        [*line, "-c:v", "libx264rgb", "-crf", "0", str(tmp_path / "a.mkv")], input=image.tobytes(), check=True
    )
    frames = []
    restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", lambda frame: frames.append(frame) or frame)
    np.testing.assert_array_equal(frames[0], image)
    assert "(tv, " in shown(tmp_path / "b.mkv", 400, 400)[0]


def test_a_matrix_that_cannot_be_computed_is_refused(tmp_path):
    image, _ = patches(80, 80)
    write(tmp_path / "a.mkv", image, "bt709", "tv", tagged("ycgco", "tv", "bt709", "bt709"))
    with pytest.raises(ImageError, match="a.mkv: not a readable video"):
        restore_video(tmp_path / "a.mkv", tmp_path / "b.mkv", lambda frame: frame)
    assert not (tmp_path / "b.mkv").exists()
