"""The command, run for real on pictures and videos of every kind."""

import hashlib
import os
import signal
import subprocess
import sys
import time

import imageio.v2 as iio
import numpy as np
import pytest
from PIL import Image

from deepdeblur_tf.compat import tf
from deepdeblur_tf.model import build_model
from deepdeblur_tf.predict import main
from deepdeblur_tf.restoration.restorer import restore
from deepdeblur_tf.runs.networks import load_model

from .conftest import ROOT


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    tf.keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    network = build_model(blocks=1, filters=4, kernel_size=3, global_skip=True)
    tail = network.get_layer("level1_tail")  # begins at zero, which would leave the image as it is
    tail.set_weights([tf.random.normal(weight.shape, stddev=0.05) for weight in tail.get_weights()])
    network.save(path)
    return path


@pytest.fixture
def photo(shared):
    return Image.open(shared / "blurry" / "GOPR0384_11_00_000027.png").convert("RGB").crop((300, 200, 401, 262))


@pytest.fixture
def tree(tmp_path, photo):
    """A folder with sub-folders: five pictures and three broken files."""
    folder = tmp_path / "photos"
    (folder / "2024" / "may").mkdir(parents=True)
    photo.save(folder / "a.png")
    photo.save(folder / "2024" / "b.JPG", quality=80)
    photo.convert("L").save(folder / "2024" / "c.png")
    photo.save(folder / "2024" / "may" / "d.bmp")
    rgba = photo.copy()
    rgba.putalpha(Image.linear_gradient("L").resize(photo.size))
    rgba.save(folder / "2024" / "may" / "e.png")
    (folder / "text.png").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:3000])
    Image.fromarray(np.full((9, 9), 300, np.uint16)).save(folder / "deep.png")
    (folder / "notes.txt").write_text("no picture by its name, and so left alone")
    return folder


GOOD = {"a.png", "2024/b.JPG", "2024/c.png", "2024/may/d.bmp", "2024/may/e.png"}


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def hashes(folder):
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files(folder)}


def test_a_folder_is_restored_and_bad_files_are_listed_at_the_end(tmp_path, tree, model, capfd):
    before = hashes(tree)
    assert main([str(model), str(tree), "--output", str(tmp_path / "out")]) == 1
    output = capfd.readouterr()
    assert files(tmp_path / "out") == GOOD and hashes(tree) == before
    assert f"restored: 5 of 8 files are in {tmp_path / 'out'}" in output.out
    assert "left alone, no picture or video by their names: 1 files (.txt)" in output.out
    failed = output.err[output.err.index("failed: 3") :]
    for name, word in (("text.png", "not a readable image"), ("cut.png", "does not decode"), ("deep.png", "16 bits")):
        assert any(str(tree / name) in line and word in line for line in failed.splitlines())
    for noise in ("Warning", "Traceback", "oneDNN", "CUDA"):
        assert noise not in output.err + output.out
    # The very values that `restore` gives.
    network = load_model(model)
    for name in ("a.png", "2024/may/d.bmp"):
        expected = restore(network, np.asarray(Image.open(tree / name)))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / name)), expected)
    transparent = [np.asarray(Image.open(folder / "2024" / "may" / "e.png")) for folder in (tree, tmp_path / "out")]
    np.testing.assert_array_equal(transparent[0][..., 3], transparent[1][..., 3])
    np.testing.assert_array_equal(transparent[1][..., :3], restore(network, transparent[0][..., :3]))
    assert Image.open(tmp_path / "out" / "2024" / "c.png").mode == "L"


def test_what_is_done_is_skipped_unless_told(tmp_path, tree, model, capfd):
    out = tmp_path / "out"
    arguments = [str(model), str(tree / "a.png"), str(tree / "2024"), "--output", str(out)]
    assert main(arguments) == 0
    assert files(out) == {"a.png", "b.JPG", "c.png", "may/d.bmp", "may/e.png"}  # below each input
    (out / "a.png").write_bytes(b"mine")
    (out / "c.png").unlink()
    capfd.readouterr()
    assert main(arguments) == 0
    assert "4 of 5 files are in" in capfd.readouterr().out
    assert (out / "a.png").read_bytes() == b"mine" and (out / "c.png").is_file()
    assert main([*arguments, "--overwrite"]) == 0
    assert Image.open(out / "a.png").size == (101, 62)


def test_a_pattern_keeps_the_folders_below_it(tmp_path, tree, model):
    pattern = str(tree / "**" / "*.png")
    assert main([str(model), pattern, "--output", str(tmp_path / "out")]) == 1
    assert files(tmp_path / "out") == {"a.png", "2024/c.png", "2024/may/e.png"}


@pytest.mark.parametrize("pattern", ["", "**/*"])
def test_an_output_folder_within_the_input_is_no_input(tree, model, pattern):
    out = tree / "restored"
    for _ in range(2):
        assert main([str(model), str(tree / pattern), "--output", str(out)]) == 1
        assert files(out) == GOOD


def test_a_file_that_cannot_be_written_stops_no_other(tmp_path, tree, model, capfd):
    out = tmp_path / "out"
    (out / "a.png").mkdir(parents=True)
    assert main([str(model), str(tree), "--output", str(out)]) == 1
    error = capfd.readouterr().err
    assert f"{tree / 'a.png'}: " in error and "failed: 4" in error and "Traceback" not in error
    assert files(out) == GOOD - {"a.png"}


def test_a_source_that_is_newer_than_its_result_is_restored_again(tmp_path, tree, model):
    arguments = [str(model), str(tree / "a.png"), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    Image.new("RGB", (12, 9)).save(tree / "a.png")
    later = (tmp_path / "out" / "a.png").stat().st_mtime + 10
    os.utime(tree / "a.png", (later, later))
    assert main(arguments) == 0
    assert Image.open(tmp_path / "out" / "a.png").size == (12, 9)


def test_linked_folders_are_followed_and_circles_end(tmp_path, tree, model):
    (tree / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f.png").write_bytes((tree / "a.png").read_bytes())
    (tmp_path / "elsewhere" / "round").symlink_to(tree)
    assert main([str(model), str(tree), "--output", str(tmp_path / "out")]) == 1
    assert files(tmp_path / "out") == GOOD | {"linked/f.png"}


@pytest.mark.parametrize("kind", ["dense", "one channel"])
def test_another_networks_file_is_refused(tmp_path, tree, capfd, kind):
    layers = tf.keras.layers
    inputs = layers.Input((4,)) if kind == "dense" else layers.Input((None, None, 1))
    outputs = layers.Dense(3)(inputs) if kind == "dense" else layers.Conv2D(1, 3)(inputs)
    tf.keras.Model(inputs, outputs).save(tmp_path / "other.keras")
    assert main([str(tmp_path / "other.keras"), str(tree), "--output", str(tmp_path / "out")]) == 2
    assert "other.keras: is not a network that deepdeblur_tf saved" in capfd.readouterr().err


@pytest.mark.parametrize("case", ["in place", "two for one", "missing", "no match", "empty", "no model"])
def test_wrong_inputs_are_refused_before_the_work(tmp_path, tree, model, capfd, case):
    (tmp_path / "empty").mkdir()
    out = str(tmp_path / "out")
    arguments, word = {
        "in place": ([str(tree), "--output", str(tree)], "would be overwritten"),
        "two for one": ([str(tree / "a.png"), str(tree / "2024" / "may"), "--output", out], "would both become"),
        "missing": ([str(tree / "none.png"), "--output", out], "no such file or folder"),
        "no match": ([str(tree / "*.tif"), "--output", out], "matches no picture"),
        "empty": ([str(tmp_path / "empty"), "--output", out], "holds no picture"),
        "no model": ([str(tree), "--output", out], "Give the folder of a finished run"),
    }[case]
    (tree / "2024" / "may" / "a.png").write_bytes((tree / "a.png").read_bytes())
    before = hashes(tree)
    chosen = tmp_path / "none.keras" if case == "no model" else model
    assert main([str(chosen), *arguments]) == 2
    error = capfd.readouterr().err
    assert word in error and "Traceback" not in error
    assert hashes(tree) == before and not any((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("memory", ["-1", "inf", "nan", "much"])
def test_a_wrong_memory_is_refused_at_once(tmp_path, tree, model, capfd, memory):
    with pytest.raises(SystemExit):
        main([str(model), str(tree), "--output", str(tmp_path / "out"), f"--memory={memory}"])
    assert f"received '{memory}'; allowed: a number of GiB above 0" in capfd.readouterr().err


@pytest.mark.parametrize("options", [["--tile", "130"], ["--tile", "64"]])
def test_wrong_options_are_refused_before_the_work(tmp_path, tree, model, capfd, options):
    assert main([str(model), str(tree), "--output", str(tmp_path / "out"), *options]) == 2
    assert f"{options[0][2:]}=" in capfd.readouterr().err and not files(tmp_path / "out")


def test_side_by_side(tmp_path, tree, model, photo):
    assert main([str(model), str(tree / "a.png"), "--output", str(tmp_path / "out"), "--comparison"]) == 0
    assert files(tmp_path / "out") == {"a.png", "a.png.comparison.png"}
    both = np.asarray(Image.open(tmp_path / "out" / "a.png.comparison.png"))
    np.testing.assert_array_equal(both[24:, :101], np.asarray(photo))
    np.testing.assert_array_equal(both[24:, -101:], np.asarray(Image.open(tmp_path / "out" / "a.png")))


def test_a_comparison_asked_for_later_leaves_the_result_as_it_is(tmp_path, tree, model, capfd):
    arguments = [str(model), str(tree / "a.png"), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    Image.new("RGB", (101, 62), "red").save(tmp_path / "out" / "a.png")  # the user's own work
    mine = (tmp_path / "out" / "a.png").read_bytes()
    assert main([*arguments, "--comparison"]) == 0
    assert (tmp_path / "out" / "a.png").read_bytes() == mine
    both = np.asarray(Image.open(tmp_path / "out" / "a.png.comparison.png"))
    assert (both[24:, -101:] == (255, 0, 0)).all()
    (tree / "a.png.comparison.png").write_bytes((tree / "a.png").read_bytes())
    capfd.readouterr()
    assert main([str(model), str(tree), "--output", str(tmp_path / "other"), "--comparison"]) == 2
    assert "would be overwritten" in capfd.readouterr().err


def test_nothing_is_half_written_when_killed(tmp_path, shared, model):
    folder = tmp_path / "photos"
    folder.mkdir()
    source = Image.open(shared / "blurry" / "GOPR0384_11_00_000027.png").convert("RGB")
    for index in range(6):
        source.crop((0, 0, 700 + index, 700)).save(folder / f"{index}.png")
    command = [
        sys.executable,
        "-m",
        "deepdeblur_tf.predict",
        str(model),
        str(folder),
        "--output",
        str(tmp_path / "out"),
    ]
    for number, end in ((1, signal.SIGKILL), (3, signal.SIGINT), (4, signal.SIGTERM)):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while len([p for p in (tmp_path / "out").glob("*") if p.name[0] != "."]) < number and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, end)
        _, error = process.communicate()
        assert "Traceback" not in error
        if end == signal.SIGINT and process.returncode == 130:
            assert "stopped. The same command goes on" in error
    assert subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, check=False).returncode == 0
    visible = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] != ".")
    assert visible == [f"{index}.png" for index in range(6)]
    for index in range(6):
        assert Image.open(tmp_path / "out" / f"{index}.png").convert("RGB").size == (700 + index, 700)


def write_video(path, frames, **options):
    with iio.get_writer(path, format="FFMPEG", fps=12, macro_block_size=1, **options) as writer:
        for frame in frames:
            writer.append_data(frame)


def test_a_video_keeps_its_rate_size_and_length(tmp_path, shared, model, capfd):
    frames = sorted((shared / "reds" / "val" / "val_blur" / "020").iterdir())
    frames = [np.asarray(Image.open(path))[100:221, 300:463] for path in frames]
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "even.mp4", [frame[:120, :160] for frame in frames], ffmpeg_params=["-crf", "5"])
    write_video(folder / "odd.mp4", frames, pixelformat="yuv444p")
    write_video(folder / "nine.webm", frames, codec="libvpx-vp9", pixelformat="yuv444p")
    (folder / "cut.mp4").write_bytes((folder / "odd.mp4").read_bytes()[:2000])
    noise = np.random.default_rng(0).integers(0, 256, (50, 120, 160, 3), dtype=np.uint8)
    write_video(folder / "half.mkv", noise)
    (folder / "half.mkv").write_bytes((folder / "half.mkv").read_bytes()[: (folder / "half.mkv").stat().st_size // 2])
    assert main([str(model), str(folder), "--output", str(tmp_path / "out"), "--comparison"]) == 1
    error = capfd.readouterr().err
    assert f"{folder / 'cut.mp4'}: not a readable video" in error and "failed: 2" in error and "Traceback" not in error
    assert f"{folder / 'half.mkv'}: is cut off" in error
    names = {"even.mp4", "odd.mp4", "nine.webm"}
    assert files(tmp_path / "out") == names | {f"{name}.comparison.png" for name in names}
    network = load_model(model)
    for name in names:
        with iio.get_reader(folder / name) as source, iio.get_reader(tmp_path / "out" / name) as result:
            assert result.get_meta_data()["fps"] == 12
            assert result.get_meta_data()["size"] == source.get_meta_data()["size"]
            assert result.count_frames() == source.count_frames() == 5
            for blurry, coded in zip(source, result):
                restored = restore(network, blurry).astype(int)
                # Coded anew with loss, yet the restored frame and not the blurry one.
                assert np.abs(restored - coded).mean() < 0.4 * np.abs(restored - blurry).mean()


def test_sound_is_kept(tmp_path, model):
    import imageio_ffmpeg

    source = tmp_path / "a.mp4"
    make = "-y -loglevel error -f lavfi -i testsrc=size=64x48:rate=10:duration=1 -f lavfi -i sine=440:duration=1"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *make.split(), "-c:a", "aac", "-pix_fmt", "yuv420p", str(source)]
    subprocess.run(command, check=True)
    assert main([str(model), str(source), "--output", str(tmp_path / "out")]) == 0
    with iio.get_reader(tmp_path / "out" / "a.mp4") as result:
        assert result.get_meta_data()["audio_codec"] == "aac" and result.count_frames() == 10


def test_help_answers_at_once():
    code = "import sys, deepdeblur_tf.predict as p\ntry: p.main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert 'tensorflow' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "--self_ensemble" in result.stdout
