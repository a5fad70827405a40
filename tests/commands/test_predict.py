"""The command, run for real on pictures and videos of every kind."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image, ImageCms

from deepdeblur_tf import predict
from deepdeblur_tf.command_line import ProgressBar
from deepdeblur_tf.compat import tf
from deepdeblur_tf.images.videos import video_frames
from deepdeblur_tf.model import build_model
from deepdeblur_tf.networks.archive import load_model, save_network
from deepdeblur_tf.predict import main
from deepdeblur_tf.restoration.jobs import run_job
from deepdeblur_tf.restoration.restorer import restore
from tests.helpers import ROOT, frame_times, hashes, write_network, write_video

SLOW = pytest.mark.slow


@pytest.fixture
def photo(scenes):
    return Image.fromarray(scenes[0][0][100:162, 20:121])


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
    Image.fromarray(np.full((9, 9), 0.3, np.float32)).save(folder / "deep.tiff")
    (folder / "notes.txt").write_text("no picture by its name, and so left alone")
    return folder


GOOD = {"a.png", "2024/b.JPG", "2024/c.png", "2024/may/d.bmp", "2024/may/e.png"}


def files(folder):
    """What lies in a folder, without the record of results."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {"restored.jsonl"}


def test_the_scale_is_said_and_recorded(tmp_path, model, photo, capfd):
    photo.resize((404, 248)).save(tmp_path / "a.png")
    assert main([str(model), str(tmp_path / "a.png"), "--output", str(tmp_path / "out"), "--scale", "0.5"]) == 0
    assert "restored at scale 0.5 (a.png)" in capfd.readouterr().out
    (line,) = (tmp_path / "out" / "restored.jsonl").read_text().splitlines()
    assert json.loads(line)["scale"] == 0.5 and json.loads(line)["made_of"]["options"]["scale"] == 0.5
    expected = restore(load_model(model), np.asarray(Image.open(tmp_path / "a.png")), scale=0.5)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), expected)


def test_what_is_hardly_changed_is_said(tmp_path, photo, capfd):
    save_network(build_model(blocks=1, filters=4, kernel_size=3, global_skip=True), tmp_path / "none.keras")
    photo.save(tmp_path / "a.png")
    assert main([str(tmp_path / "none.keras"), str(tmp_path / "a.png"), "--output", str(tmp_path / "out")]) == 0
    assert "hardly changed: sharp already, or blurred beyond the network's reach (a.png)" in capfd.readouterr().out


def test_a_video_is_hardly_changed_where_no_frame_is_changed(tmp_path, photo, model, capfd):
    image = np.asarray(photo.resize((96, 64)))
    write_video(tmp_path / "fades.mp4", [image, image, np.zeros_like(image)])
    flags = ["--output", str(tmp_path / "out"), "--scale", "1"]
    save_network(build_model(blocks=1, filters=4, kernel_size=3, global_skip=True), tmp_path / "none.keras")
    assert main([str(tmp_path / "none.keras"), str(tmp_path / "fades.mp4"), *flags]) == 0
    assert "reach (fades.mp4)" in capfd.readouterr().out
    changing = iter([0.9, 0.9, 0.1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deepdeblur_tf.restoration.restorer.relative_change", lambda *_: next(changing))
        assert main([str(model), str(tmp_path / "fades.mp4"), *flags]) == 0
    assert "hardly changed" not in capfd.readouterr().out


def test_a_folder_is_restored_and_bad_files_are_listed_at_the_end(tmp_path, tree, model, capfd):
    before = hashes(tree)
    assert main([str(model), str(tree), "--output", str(tmp_path / "out")]) == 1
    output = capfd.readouterr()
    assert files(tmp_path / "out") == GOOD and hashes(tree) == before
    assert f"restored: 5 of 8 files are in {tmp_path / 'out'}" in output.out
    assert "left alone, no picture or video by their names: 1 files (.txt)" in output.out
    failed = output.err[output.err.index("failed: 3") :]
    for name, word in (("text.png", "not a readable image"), ("cut.png", "does not decode"), ("deep.tiff", "32 bits")):
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


def test_what_is_left_out_of_a_files_metadata_is_said_in_a_line(tmp_path, model, capfd):
    for number in range(3):
        folder = tmp_path / "in" / str(number)
        folder.mkdir(parents=True)
        Image.new("RGB", (64, 48), "gray").save(folder / f"{number}.jpg", exif=b"Exif\0\0no header" * (number > 0))
    assert main([str(model), str(tmp_path / "in"), "--output", str(tmp_path / "out")]) == 0
    said, errors = capfd.readouterr()
    assert "left out: EXIF data that do not begin as such (1.jpg, 2.jpg)\n" in said and "Warning" not in errors


def test_a_name_that_is_no_utf_8_is_restored_and_shown(tmp_path, model, capfd):
    folder = tmp_path / "in"
    folder.mkdir()
    name = os.fsdecode(b"J\xfcrgen.jpg")
    Image.new("RGB", (64, 48), "gray").save(folder / name, exif=b"Exif\0\0no header")
    (folder / os.fsdecode(b"\xfc")).touch()
    for said in ("1 of 1 files", "1 of 1 files are in"):
        assert main([str(model), str(folder), "--output", str(tmp_path / "out")]) == 0
        assert said in capfd.readouterr().out
    assert (tmp_path / "out" / name).is_file()


@pytest.mark.slow
def test_what_is_done_is_skipped_unless_told(tmp_path, tree, model, capfd):
    out = tmp_path / "out"
    arguments = [str(model), str(tree / "a.png"), str(tree / "2024"), "--output", str(out)]
    assert main(arguments) == 0
    assert files(out) == {"a.png", "b.JPG", "c.png", "may/d.bmp", "may/e.png"}  # below each input
    assert "already" not in capfd.readouterr().out
    before = (out / "a.png").stat()
    (out / "c.png").unlink()
    assert main(arguments) == 0
    output = capfd.readouterr()
    assert f"4 of 5 files are in {out} already" in output.out and f"restored: 5 of 5 files are in {out}" in output.out
    assert (out / "a.png").stat().st_mtime_ns == before.st_mtime_ns and (out / "c.png").is_file()
    assert main([*arguments, "--overwrite"]) == 0
    assert (out / "a.png").stat().st_mtime_ns > before.st_mtime_ns


@SLOW
@pytest.mark.parametrize("case", ["network", "options", "source"])
def test_what_was_made_otherwise_is_restored_again(tmp_path, tree, model, capfd, case):
    arguments = [str(model), str(tree / "a.png"), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--comparison"]) == 0
    if case == "network":
        arguments[0] = str(write_network(tmp_path / "other.keras", 4))
    elif case == "options":
        arguments.append("--self_ensemble")
    else:
        state = (tree / "a.png").stat()
        Image.new("RGB", (12, 9), "red").save(tree / "a.png")
        os.utime(tree / "a.png", ns=(state.st_atime_ns, state.st_mtime_ns - 10**9))  # an older photo
    capfd.readouterr()
    assert main(arguments) == 0
    assert "1 files in " in (said := capfd.readouterr().out) and "are restored again" in said
    blurry, restored = (np.asarray(Image.open(folder / "a.png")) for folder in (tree, tmp_path / "out"))
    expected = restore(load_model(arguments[0]), blurry, self_ensemble=case == "options")
    np.testing.assert_array_equal(restored, expected)
    # The comparison of the first call shows the new result, though it was not asked for again.
    both = np.asarray(Image.open(tmp_path / "out" / "a.png.comparison.png"))[24 : 24 + len(blurry)]
    np.testing.assert_array_equal(both[:, : blurry.shape[1]], blurry)
    starts = range(both.shape[1] - blurry.shape[1] + 1)
    assert any((both[:, start : start + blurry.shape[1]] == restored).all() for start in starts)
    capfd.readouterr()
    assert main(arguments) == 0
    assert "1 of 1 files are in" in capfd.readouterr().out


@pytest.mark.parametrize(
    "case",
    [
        "another's",
        pytest.param("changed", marks=SLOW),
        pytest.param("earlier version", marks=SLOW),
        pytest.param("of another source", marks=SLOW),
    ],
)
def test_what_this_command_did_not_write_is_left_alone_by_name(tmp_path, tree, model, capfd, case):
    out = tmp_path / "out"
    arguments = [str(model), str(tree / "a.png"), str(tree / "2024" / "c.png"), "--output", str(out)]
    if case == "another's":
        out.mkdir()
        (out / "a.png").write_bytes(b"mine")
    else:
        assert main(arguments) == 0
        if case == "changed":
            Image.new("RGB", (101, 62), "red").save(out / "a.png")
        elif case == "earlier version":
            (out / "restored.jsonl").unlink()
        else:
            (tree / "new").mkdir()
            arguments[1] = str(tree / "new" / "a.png")
            Image.new("RGB", (12, 9), "red").save(arguments[1])
    before = (out / "a.png").stat().st_mtime_ns
    capfd.readouterr()
    assert main([*arguments, "--comparison"]) == 1
    output = capfd.readouterr()
    assert (out / "a.png").stat().st_mtime_ns == before and not (out / "a.png.comparison.png").exists()
    assert f"\n  {out / 'a.png'}\n" in output.err and "--overwrite" in output.err
    there = 0 if case == "earlier version" else 1
    assert f"left alone: {2 - there} files" in output.err
    assert f"restored: {there} of 2 files are in {out}" in output.out
    assert main([*arguments, "--overwrite"]) == 0
    assert (out / "a.png").stat().st_mtime_ns > before
    assert main(arguments) == 0


@pytest.mark.slow
def test_a_moved_source_is_the_same_source(tmp_path, tree, model, capfd):
    assert main([str(model), str(tree / "a.png"), "--output", str(tmp_path / "out")]) == 0
    (tree / "a.png").rename(tmp_path / "a.png")
    capfd.readouterr()
    assert main([str(model), str(tmp_path / "a.png"), "--output", str(tmp_path / "out")]) == 0
    assert "1 of 1 files are in" in capfd.readouterr().out


def test_a_comparisons_name_taken_by_another_file_is_left_alone(tmp_path, tree, model, capfd):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png.comparison.png").write_bytes(b"mine")
    assert main([str(model), str(tree / "a.png"), "--output", str(tmp_path / "out"), "--comparison"]) == 1
    assert "a.png.comparison.png" in capfd.readouterr().err
    assert (tmp_path / "out" / "a.png.comparison.png").read_bytes() == b"mine"
    assert (tmp_path / "out" / "a.png").is_file()


def test_a_pattern_keeps_the_folders_below_it(tmp_path, tree, model):
    pattern = str(tree / "**" / "*.png")
    assert main([str(model), pattern, "--output", str(tmp_path / "out")]) == 1
    assert files(tmp_path / "out") == {"a.png", "2024/c.png", "2024/may/e.png"}


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["", "**/*"])
def test_an_output_folder_within_the_input_is_no_input(tree, model, pattern):
    out = tree / "restored"
    for _ in range(2):
        assert main([str(model), str(tree / pattern), "--output", str(out)]) == 1
        assert files(out) == GOOD


def test_the_results_folder_among_the_inputs_is_left_alone(tmp_path, photo, model, monkeypatch):
    """As a shell's * names it the second time."""
    photo.save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    for names in (["a.png"], ["a.png", "restored"]):
        assert main([str(model), *names, "--output", "restored"]) == 0
    assert files(tmp_path / "restored") == {"a.png"}
    assert main([str(model), "restored", "--output", "restored"]) == 2


def test_a_file_that_cannot_be_written_stops_no_other(tmp_path, tree, model, capfd):
    out = tmp_path / "out"
    (out / "a.png").mkdir(parents=True)
    assert main([str(model), str(tree), "--output", str(out)]) == 1
    error = capfd.readouterr().err
    assert f"\n  {out / 'a.png'}\n" in error and "failed: 3" in error and files(out) == GOOD - {"a.png"}
    assert main([str(model), str(tree / "a.png"), "--output", str(out), "--overwrite"]) == 1
    error = capfd.readouterr().err
    assert f"{out / 'a.png'}: Is a directory" in error and "failed: 1" in error and "Traceback" not in error


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
    assert f"error: {tmp_path / 'other.keras'}: is not a network" in capfd.readouterr().err


@pytest.mark.parametrize("case", ["in place", "two for one", "missing", "no match", "empty", "no model", "no folder"])
def test_wrong_inputs_are_refused_before_the_work(tmp_path, tree, model, capfd, case):
    (tmp_path / "empty").mkdir()
    out = str(tmp_path / "out")
    arguments, word = {
        "in place": ([str(tree), "--output", str(tree)], "would be overwritten"),
        "two for one": ([str(tree / "a.png"), str(tree / "2024" / "may"), "--output", out], "would both become"),
        "missing": ([str(tree / "none.png"), "--output", out], "no such file or folder"),
        "no match": ([str(tree / "*.tif"), "--output", out], "matches no picture"),
        "empty": ([str(tmp_path / "empty"), "--output", out], "holds no picture"),
        "no folder": ([str(tree), "--output", str(tree / "a.png" / "out")], "out: cannot be a folder"),
        "no model": ([str(tree), "--output", out], "Give the folder of a finished run"),
    }[case]
    (tree / "2024" / "may" / "a.png").write_bytes((tree / "a.png").read_bytes())
    before = hashes(tree)
    chosen = tmp_path / "none.keras" if case == "no model" else model
    assert main([str(chosen), *arguments]) == 2
    error = capfd.readouterr().err
    assert word in error and "Traceback" not in error
    assert hashes(tree) == before and not any((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("memory", ["-1", "inf", "nan", "1e300", "much"])
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


def test_a_comparison_has_the_photos_colour_profile(tmp_path, photo, model):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo.save(tmp_path / "a.png", icc_profile=profile)
    assert main([str(model), str(tmp_path / "a.png"), "--output", str(tmp_path / "out"), "--comparison"]) == 0
    assert Image.open(tmp_path / "out" / "a.png.comparison.png").info["icc_profile"] == profile


def test_a_comparison_asked_for_later_leaves_the_result_as_it_is(tmp_path, tree, model, capfd):
    arguments = [str(model), str(tree / "a.png"), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    before = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    assert main([*arguments, "--comparison"]) == 0
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == before
    assert (tmp_path / "out" / "a.png.comparison.png").is_file()
    (tree / "a.png.comparison.png").write_bytes((tree / "a.png").read_bytes())
    capfd.readouterr()
    assert main([str(model), str(tree), "--output", str(tmp_path / "other"), "--comparison"]) == 2
    assert "would be overwritten" in capfd.readouterr().err


@pytest.fixture
def large_photos(tmp_path, frame):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(6):
        Image.fromarray(np.pad(frame, ((0, 340), (0, 60 + index), (0, 0)), "symmetric")).save(folder / f"{index}.png")
    return folder


def command(*arguments):
    return [sys.executable, "-m", "deepdeblur_tf.predict", *map(str, arguments)]


@pytest.mark.slow
def test_nothing_is_half_written_when_killed(tmp_path, large_photos, model):
    line = command(model, large_photos, "--output", tmp_path / "out")
    for number, end in ((1, signal.SIGKILL), (3, signal.SIGINT), (4, signal.SIGTERM)):
        process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while len(list((tmp_path / "out").glob("[0-9]*"))) < number and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, end)
        _, error = process.communicate()
        assert "Traceback" not in error
        if end == signal.SIGINT and process.returncode == 130:
            assert "stopped. The same command goes on" in error
    assert subprocess.run(line, cwd=ROOT, stderr=subprocess.PIPE, check=False).returncode == 0
    assert {name for name in files(tmp_path / "out") if name[0] != "."} == {f"{index}.png" for index in range(6)}
    for index in range(6):
        assert Image.open(tmp_path / "out" / f"{index}.png").convert("RGB").size == (700 + index, 700)


@pytest.mark.slow
def test_two_processes_into_one_folder_end_well(tmp_path, large_photos, model):
    line = command(model, large_photos, "--output", tmp_path / "out", "--comparison")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}
    processes = [subprocess.Popen(line, **pipes) for _ in range(2)]
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0, output
        assert "restored: 6 of 6 files" in output
        # In a pipe each line is whole: the bar's, at the start and at the end, and what the command says.
        assert "\r" not in output
        assert all(re.match(r" *\d+% .*pixels|restored: |\d of 6 files", text) for text in output.splitlines())
    names = {f"{index}.png" for index in range(6)}
    assert files(tmp_path / "out") == names | {f"{name}.comparison.png" for name in names}
    again = subprocess.run(line, check=False, **pipes)
    assert again.returncode == 0 and "6 of 6 files are in" in again.stdout
    network = load_model(model)
    for name in sorted(names)[:2]:
        expected = restore(network, np.asarray(Image.open(large_photos / name)))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / name)), expected)


def test_in_a_pipe_the_progress_is_whole_lines(capfd):
    with ProgressBar(total=1000, unit=" pixels", unit_scale=True) as bar:
        for number in range(10):
            bar.set_postfix_str(f"file {number}", refresh=False)
            bar.update(100)
    first, last = capfd.readouterr().err.splitlines()
    assert first.startswith("  0%") and last.startswith("100% 1.00k/1.00k [") and last.endswith("file 9]")


@pytest.mark.slow
def test_a_video_keeps_its_rate_size_and_length(tmp_path, frame, model, capfd):
    frames = [frame[100:221, 5 * step : 5 * step + 163] for step in range(5)]
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "even.mp4", [frame[:120, :160] for frame in frames])
    write_video(folder / "odd.mp4", frames, pix_fmt="yuv444p")
    write_video(folder / "nine.webm", frames, codec="libvpx-vp9", pix_fmt="yuv444p")
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
        source, result = (list(video_frames(root / name)) for root in (folder, tmp_path / "out"))
        assert frame_times(tmp_path / "out" / name) == frame_times(folder / name)
        assert len(source) == len(result) == 5
        for blurry, coded in zip(source, result):
            restored = restore(network, blurry).astype(int)
            # Coded anew with loss, yet the restored frame and not the blurry one.
            assert np.abs(restored - coded).mean() < 0.4 * np.abs(restored - blurry).mean()
    assert main([str(model), str(folder / "odd.mp4"), "--output", str(tmp_path / "out")]) == 0
    assert "1 of 1 files are in" in capfd.readouterr().out


def test_what_a_video_became_is_said_and_done_once(tmp_path, frame, model, capfd):
    write_video(tmp_path / "a.mpg", [frame[:48, :64]] * 10, rate=25, codec="mpeg2video")
    assert main([str(model), str(tmp_path / "a.mpg"), "--output", str(tmp_path / "out")]) == 0
    said = capfd.readouterr().out
    assert "written as .mp4, for .mpg cannot be written (a.mpg)\n" in said
    assert len(frame_times(tmp_path / "out" / "a.mp4")) == 10
    assert main([str(model), str(tmp_path / "a.mpg"), "--output", str(tmp_path / "out")]) == 0
    assert "1 of 1 files are in" in capfd.readouterr().out
    write_video(tmp_path / "a.mp4", [frame[:48, :64]])
    assert main([str(model), str(tmp_path / "a.mpg"), str(tmp_path / "a.mp4"), "--output", str(tmp_path / "out")]) == 2
    assert "would both become" in capfd.readouterr().err


@SLOW
def test_half_a_video_is_no_result(tmp_path, model, capfd):
    """A limit on files' sizes, for what a full disk does."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 96, 3), dtype=np.uint8)
    for name in ("a.mp4", "b.mkv", "c.avi"):
        write_video(tmp_path / name, noise, options={"crf": "20"})
    arguments = [str(model), *(str(tmp_path / name) for name in ("a.mp4", "b.mkv", "c.avi"))]
    arguments += ["--output", str(tmp_path / "out")]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        status = main(arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    output = capfd.readouterr()
    assert status == 1 and "restored: 0 of 3" in output.out
    assert output.err.count("File too large") == 3 and "Traceback" not in output.err
    assert files(tmp_path / "out") == set() and not (tmp_path / "out" / "restored.jsonl").exists()
    assert main(arguments) == 0
    assert "restored: 3 of 3" in capfd.readouterr().out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_a_full_disk_leaves_no_half_video(tmp_path, model, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 96, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mp4", noise, options={"crf": "20"})
    shutil.copyfile(tmp_path / "a.mp4", tmp_path / "b.mp4")
    out = tmp_path / "out"
    out.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "none", str(out)], check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        assert main([str(model), str(tmp_path / "*.mp4"), "--output", str(out)]) == 1
        error = capfd.readouterr().err
        assert f"{tmp_path / 'b.mp4'}: not begun\n" in error
        assert f"{out / 'a.mp4'}: No space left on device. Nothing more can be written" in error
        assert "Traceback" not in error and files(out) == set() and not (out / "restored.jsonl").exists()
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_originals_are_not_replaced_through_links(tmp_path, model, photo, capfd):
    (tmp_path / "photos" / "2024").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    photo.save(tmp_path / "photos" / "2024" / "a.png")
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "out" / "2024").symlink_to(tmp_path / "photos" / "2024")  # a link inside
    (tmp_path / "chosen" / "2024").mkdir(parents=True)
    (tmp_path / "chosen" / "2024" / "a.png").symlink_to(tmp_path / "photos" / "2024" / "a.png")
    for source, output in (("photos", "link"), ("link", "photos"), ("photos", "out"), ("chosen", "photos")):
        arguments = [str(model), str(tmp_path / source), "--output", str(tmp_path / output), "--overwrite"]
        assert main(arguments) == 2, (source, output)
        assert "would be overwritten" in capfd.readouterr().err


@SLOW
@pytest.mark.parametrize("removed", ["the folder", "a result", "a photo is changed"])
def test_what_is_removed_meanwhile_is_not_done(tmp_path, model, photo, capfd, monkeypatch, removed):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "photos").mkdir(exist_ok=True)
        photo.save(tmp_path / "photos" / name)
    out = tmp_path / "out"
    arguments = [str(model), str(tmp_path / "photos"), "--output", str(out)]

    def run(job, *rest):
        left_out = run_job(job, *rest)
        if job.source.name == "b.png" and removed == "the folder":
            shutil.rmtree(out)
        elif job.source.name == "b.png" and removed == "a result":
            (out / "a.png").unlink()
        elif job.source.name == "b.png":
            photo.rotate(90).save(tmp_path / "photos" / "a.png")
        return left_out

    with monkeypatch.context() as patch:
        patch.setattr(predict, "run_job", run)
        assert main(arguments) == 1
    said = capfd.readouterr()
    there = 1 if removed == "the folder" else 2
    assert f"restored: {there} of 3 files" in said.out and f"failed: {3 - there}" in said.err
    assert f"{tmp_path / 'photos' / 'a.png'}: was changed meanwhile, or what was made of it" in said.err
    assert main(arguments) == 0
    assert "restored: 3 of 3 files" in capfd.readouterr().out


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nowhere"])
def test_what_is_no_record_is_named_before_the_work(tmp_path, model, photo, capfd, kind):
    photo.save(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    record = tmp_path / "out" / "restored.jsonl"
    {"folder": record.mkdir, "pipe": lambda: os.mkfifo(record), "link to nowhere": lambda: record.symlink_to("gone")}[
        kind
    ]()
    assert main([str(model), str(tmp_path / "a.png"), "--output", str(tmp_path / "out")]) == 2
    assert capfd.readouterr().err.startswith(f"error: {record}: is a folder, a pipe or a link to nowhere.")


@SLOW
def test_a_damaged_record_blocks_nothing(tmp_path, model, photo, capfd):
    (tmp_path / "photos").mkdir()
    photo.save(tmp_path / "photos" / "a.png")
    arguments = [str(model), str(tmp_path / "photos"), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    record = tmp_path / "out" / "restored.jsonl"
    line = record.read_bytes()
    entry = json.loads(line)
    bad = [{**entry, "made_of": made} for made in (5, None, [], {"source": 5}, {"source": {"path": 5}})]
    bad += [{**entry, "name": ["a"]}, {**entry, "size": {}}, 5, None, "a"]
    lines = [*(json.dumps(each).encode() for each in bad), b"[" * 100_000, b"\xff\xfe", b"\0\0"]
    record.write_bytes(b"\n".join(lines) + b"\n" + line)
    capfd.readouterr()
    assert main(arguments) == 0
    assert "1 of 1 files are in" in capfd.readouterr().out
    record.write_bytes(b"")
    assert main(arguments) == 1  # now it is a file of somebody else's
    assert "left alone: 1 files" in capfd.readouterr().err


@SLOW
def test_what_is_no_number_is_named(tmp_path, photo, capfd):
    (tmp_path / "photos").mkdir()
    photo.save(tmp_path / "photos" / "a.png")
    file = write_network(tmp_path / "network.keras", 3)
    arguments = [str(file), str(tmp_path / "photos"), "--output", str(tmp_path / "out")]
    network = load_model(file)
    for value in (np.nan, np.inf, 3e38):  # the last is a number, but not what becomes of it
        weights = network.get_layer("level1_block1_conv1").get_weights()
        weights[0][:] = value
        network.get_layer("level1_block1_conv1").set_weights(weights)
        save_network(network, file)
        assert main(arguments) == (1 if value == 3e38 else 2)
        error = capfd.readouterr().err
        if value == 3e38:
            assert f"{tmp_path / 'photos' / 'a.png'}: the network's output is no finite number" in error
        else:
            assert f"error: {file}: " in error and "level1_block1_conv1/kernel holds NaN or infinity" in error
    assert not list((tmp_path / "out").glob("*.png"))
