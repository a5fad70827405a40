"""Data sets from one's own videos and photos: the files, interruptions, and what is refused."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import filelock
import numpy as np
import pytest
import yaml
from PIL import Image

cv2 = pytest.importorskip("cv2", reason="the extra `synthesis` is not installed")
av = pytest.importorskip("av")

from deepdeblur_tf.config import Data, load_experiment  # noqa: E402
from deepdeblur_tf.creation.folder import DataSetFolder  # noqa: E402
from deepdeblur_tf.creation.frame_checks import displacement  # noqa: E402
from deepdeblur_tf.data.kinds import find_test_set  # noqa: E402
from deepdeblur_tf.data.paired_files import find_pairs  # noqa: E402
from deepdeblur_tf.data.pipeline import make_datasets  # noqa: E402
from deepdeblur_tf.images.rgb import read_rgb  # noqa: E402
from deepdeblur_tf.images.videos import footage, video_frames  # noqa: E402
from deepdeblur_tf.synthesize import main  # noqa: E402
from deepdeblur_tf.train import main as train  # noqa: E402
from tests.helpers import ROOT, hashes, write_video  # noqa: E402

SIDE = 256  # pixels; smaller ones are refused


@pytest.fixture(scope="session")
def ground(scenes):
    """A large picture with detail everywhere: uint8 [512, 512, 3]."""
    tiles = [scenes[number][1] for number in (0, 1, 1, 0)]
    return np.vstack([np.hstack(tiles[:2]), np.hstack(tiles[2:])])


@pytest.fixture
def write_frames(tmp_path, ground):
    """Writes a folder of frames, over which the view moves by so many pixels a frame; some of them blurred."""

    def write(name, count, speed=1, blurred=(), size=(SIDE, SIDE)):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for number in range(count):
            left = round(number * speed)
            frame = ground[10 : 10 + size[0], left : left + size[1]]
            frame = cv2.GaussianBlur(frame, (0, 0), 3) if number in blurred else frame
            Image.fromarray(frame).save(folder / f"{number:04d}.png", compress_level=1)
        return folder

    return write


@pytest.fixture
def photos(tmp_path, ground):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        photo = np.roll(ground, 100 * number, axis=1)[: 260 + number, :300]
        Image.fromarray(photo).save(folder / f"photo{number}.png")
    return folder


@pytest.fixture
def of_photos(photos, tmp_path):
    """What `run` takes to make a pair of each photo."""
    return [photos, "--from", "photos", "--pairs", 1, "--output", tmp_path / "out"]


def manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_a_data_set_from_frames_is_gopros(write_frames, tmp_path):
    folders = [write_frames(f"clips/{name}", 30) for name in ("a", "b", "c")]
    assert run(tmp_path / "clips", "--from", "frames", "--frames", 9, "--output", tmp_path / "out", "--test", 0.3) == 0
    for blur in ("blur", "blur_gamma"):
        train, test = (find_pairs(tmp_path / "out", split, blur=blur) for split in ("train", "test"))
        assert train.layout == "gopro"
        assert len(train.pairs) == 6 and len(test.pairs) == 3
        assert not {pair.scene for pair in train.pairs} & {pair.scene for pair in test.pairs}
    frames = [read_rgb(path) for path in sorted(folders[0].iterdir())]
    pairs = {pair.name: pair for pair in (*train.pairs, *test.pairs) if pair.scene == "a"}
    assert sorted(pairs) == ["a/000001", "a/000002", "a/000003"]
    window = np.float64(frames[9:18])
    np.testing.assert_array_equal(read_rgb(pairs["a/000002"].sharp), frames[13])
    light = np.mean((window / 255) ** 2.2, axis=0) ** (1 / 2.2)
    np.testing.assert_array_equal(read_rgb(pairs["a/000002"].blurry), np.rint(255 * light))
    plain = pairs["a/000002"].blurry.parents[1] / "blur" / "000002.png"
    np.testing.assert_array_equal(read_rgb(plain), np.rint(window.mean(axis=0)))
    entry = next(entry for entry in manifest(tmp_path / "out") if entry["pair"].endswith("/a/000002"))
    assert (entry["first_frame"], entry["frames"], entry["sharp_frame"]) == (9, 9, 13)


def test_each_scene_averages_7_to_13_frames(write_frames, tmp_path):
    for number in range(8):
        write_frames(f"clips/{number}", 13)
    assert run(tmp_path / "clips", "--from", "frames", "--output", tmp_path / "out") == 0
    counts = [entry["frames"] for entry in manifest(tmp_path / "out")]
    assert len(counts) == 8 and set(counts) <= {7, 9, 11, 13} and len(set(counts)) > 1
    assert len(find_test_set(Data(str(tmp_path / "out"))).source) == 1


def test_frames_come_in_the_order_of_their_numbers(write_frames, tmp_path):
    folder = write_frames("clip", 14, speed=2)
    frames = [read_rgb(path) for path in sorted(folder.iterdir())]
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"frame_{number}.png")
    assert run(folder, "--from", "frames", "--frames", 13, "--output", tmp_path / "out") == 0
    np.testing.assert_array_equal(read_rgb(tmp_path / "out/train/clip/sharp/000001.png"), frames[6])


# What is measured of footage


@pytest.mark.parametrize("step", [(0, 0), (3, 0), (0, 5), (6, 8)])
def test_displacement_is_in_pixels(ground, step):
    x, y = step
    frames = [ground[y * number : y * number + 300, x * number : x * number + 400] for number in range(4)]
    assert displacement(frames) == pytest.approx(np.hypot(x, y), abs=0.3, rel=0.2)


def test_jerky_footage_is_told_with_the_rate_that_it_would_take(ground, tmp_path, capsys):
    write_video(tmp_path / "clip.mp4", [ground[:300, 8 * number : 8 * number + 320] for number in range(18)], rate=60)
    assert run(tmp_path / "clip.mp4", "--output", tmp_path / "jerky", "--frames", 9) == 0
    told = capsys.readouterr().err
    assert "warning: clip.mp4: things move up to 8." in told and "in place of 60" in told
    rate = int(told.split(" in place of 60")[0].split()[-1])
    assert rate == pytest.approx(60 * 8 / 2, rel=0.05)


def test_smooth_footage_is_not_warned_of(write_frames, tmp_path, capsys):
    assert run(write_frames("smooth", 18), "--from", "frames", "--output", tmp_path / "out", "--frames", 9) == 0
    assert "warning" not in capsys.readouterr().err


def test_blurry_frames_are_no_sharp_ones(write_frames, tmp_path, capsys):
    # The middle of the fifth nine of seven; no middle.
    folder = write_frames("clip", 7 * 9, speed=0.5, blurred=(31, 46))
    assert run(folder, "--from", "frames", "--output", tmp_path / "out", "--frames", 7) == 0
    left_out = [entry["pair"] for entry in manifest(tmp_path / "out") if entry["left_out"]]
    assert left_out == ["train/clip/000005"]
    names = [pair.name for pair in find_pairs(tmp_path / "out", "train").pairs]
    assert names == [f"clip/{number:06d}" for number in (1, 2, 3, 4, 6, 7, 8, 9)]
    assert "left out: 1 of 9 pairs" in capsys.readouterr().out


def test_a_videos_frames_are_as_recorded(ground, tmp_path):
    """Phones' frame rates are uneven. To even them out, ffmpeg would repeat frames, which are no motion."""
    frames = [np.ascontiguousarray(ground[:SIDE, 3 * number : 3 * number + SIDE]) for number in range(20)]
    times = [number + 2 * (number >= 7) + 5 * (number >= 12) for number in range(20)]
    write_video(tmp_path / "a.mp4", frames, rate=240, times=times, options={"crf": "1"})
    read = list(video_frames(tmp_path / "a.mp4"))
    assert len(read) == footage(tmp_path / "a.mp4")[0] == 20
    for one, other in zip(frames, read):
        assert np.abs(one.astype(int) - other).mean() < 3


def test_no_pair_spans_a_gap_in_a_damaged_video(ground, tmp_path, capsys):
    frames = [np.ascontiguousarray(ground[:SIDE, 2 * number : 2 * number + SIDE]) for number in range(40)]
    write_video(tmp_path / "a.mp4", frames, options={"g": "10", "crf": "10"})
    with av.open(str(tmp_path / "a.mp4")) as container:
        packets = [bytes(packet) for packet in container.demux() if packet.size]
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    for packet in packets[22:25]:
        at = content.find(packet)
        content[at + 4 : at + len(packet)] = bytes(len(packet) - 4)
    (tmp_path / "a.mp4").write_bytes(content)
    for _ in range(2):  # and the same when it is continued
        assert run(tmp_path / "a.mp4", "--frames", 7, "--test", 0, "--output", tmp_path / "out") == 1
        error = capsys.readouterr().err
        assert re.search(r"a.mp4: is damaged after (1[4-9]|2\d) frames; what comes after them was left out", error)
        assert 2 <= len(manifest(tmp_path / "out")) <= 3
    for entry in manifest(tmp_path / "out"):
        scene, _, number = entry["pair"].rpartition("/")
        shown = read_rgb(tmp_path / "out" / scene / "sharp" / f"{number}.png")
        assert np.abs(shown.astype(int) - frames[entry["sharp_frame"]]).mean() < 3


# Photos


def test_a_point_of_light_draws_as_long_a_streak_as_the_manifest_says(tmp_path):
    (tmp_path / "night").mkdir()
    photo = np.zeros((SIDE, SIDE, 3), np.uint8)
    photo[SIDE // 2, SIDE // 2] = 255
    Image.fromarray(photo).save(tmp_path / "night" / "star.png")
    still = [f"--synthesis.{name}=0" for name in ("turn", "zoom", "tilt", "objects")]
    how = ["--profile=gopro", "--synthesis.linear=1", "--synthesis.path=60", "--pairs=8"]
    assert run(tmp_path / "night", "--from=photos", "--output", tmp_path / "out", *how, *still) == 0
    entries = manifest(tmp_path / "out")
    assert len(entries) == 8
    for entry in entries:
        image = read_rgb(tmp_path / "out" / "train" / "star" / "blur" / f"{entry['pair'][-6:]}.png")[..., 0]
        light = (image / 255) ** 2.2
        assert streak_length(light) == pytest.approx(entry["path_pixels"], abs=1.2)


def streak_length(light):
    """The length of a streak without crossings: along its main direction, through the middle of its width."""
    rows, columns = np.nonzero(light > 0.2 * np.median(light[light > 0]))  # less is from views that graze a pixel
    weights = light[rows, columns]
    points = np.stack([columns, rows], axis=1).astype(float)
    centred = points - np.average(points, axis=0, weights=weights)
    axes = np.linalg.eigh((centred * weights[:, None]).T @ centred)[1]
    along, across = (centred @ axes[:, ::-1]).T
    begin, end = along.min() + 0.5, along.max() - 0.5  # a point's light reaches beyond it
    curve = np.poly1d(np.polyfit(along, across, 4, w=np.sqrt(weights)))
    positions = np.linspace(begin, end, 400)
    return np.hypot(np.diff(positions), np.diff(curve(positions))).sum()


@pytest.mark.slow
def test_photos_make_pairs_to_train_on(photos, tmp_path):
    assert run(photos, "--from", "photos", "--output", tmp_path / "out", "--pairs", 2) == 0
    entries = manifest(tmp_path / "out")
    assert [entry["pair"].split("/")[0] for entry in entries].count("test") == 2 and len(entries) == 6
    assert all(entry["linear"] and entry["noise_strength"] for entry in entries)  # the profile
    settings = {"data.root": tmp_path / "out", "data.patch_size": 64, "training.batch_size": 2, "training.epochs": 1}
    train, validation = make_datasets(load_experiment(ROOT / "experiments" / "quickstart.yaml", settings))
    blurry, sharp = next(iter(train))
    assert blurry[0].shape == sharp[0].shape == (2, 64, 64, 3)
    assert len(list(validation)) == 2


def test_profiles_and_settings(photos, tmp_path):
    flags = ["--from", "photos", "--pairs", 2, "--profile", "gopro", "--synthesis.path", 0, "--synthesis.objects", 0]
    assert run(photos, "--output", tmp_path / "out", *flags, "--synthesis.jpeg", 1) == 0
    for entry in manifest(tmp_path / "out"):
        assert entry["path_pixels"] == pytest.approx(1) and entry["objects"] == 0 and entry["noise_strength"] == 0
        assert not entry["linear"] and 60 <= entry["jpeg_quality"] <= 98


def test_pairs_have_the_size_asked_for_turned_as_the_photo(tmp_path, ground):
    (tmp_path / "photos").mkdir()
    for name, size in {"lying": (400, 500), "upright": (500, 400), "small": (256, 280)}.items():
        Image.fromarray(ground[: size[0], : size[1]]).save(tmp_path / "photos" / f"{name}.png")
    flags = ["--from", "photos", "--pairs", 1, "--size", "384x288"]
    assert run(tmp_path / "photos", "--output", tmp_path / "out", *flags) == 0
    sizes = {path.parts[-3]: Image.open(path).size for path in (tmp_path / "out").rglob("blur/*.png")}
    assert sizes == {"lying": (384, 288), "upright": (288, 384), "small": (280, 256)}


def test_what_is_white_in_a_mask_moves_on_its_own(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    grey, red = np.full((SIDE, SIDE, 3), 120, np.uint8), np.full((SIDE, SIDE, 3), 120, np.uint8)
    red[100:140, 60:120] = (250, 0, 0)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[100:140, 60:120] = 255
    Image.fromarray(grey).save(tmp_path / "photos" / "grey.png")
    Image.fromarray(red).save(tmp_path / "photos" / "red.png")
    Image.fromarray(mask).save(tmp_path / "masks" / "red.png")
    flags = ["--from=photos", "--masks", tmp_path / "masks", "--test=0", "--pairs=6", "--profile=gopro"]
    assert run(tmp_path / "photos", "--output", tmp_path / "out", *flags, "--synthesis.path=0") == 0
    seen = 0
    for entry in manifest(tmp_path / "out"):
        if entry["pair"].startswith("train/grey/") and entry["objects"]:
            blurry, sharp = (
                read_rgb(tmp_path / "out" / "train" / "grey" / kind / f"{entry['pair'][-6:]}.png").astype(int)
                for kind in ("blur", "sharp")
            )
            is_red = (sharp[..., 0] > 240) & (sharp[..., 1] < 10)
            assert is_red.sum() <= entry["objects"] * 40 * 60  # and nothing else of that photo
            seen += is_red.any() and not np.array_equal(blurry, sharp)
            assert set(np.unique(sharp[..., 1])) <= set(range(121))
    assert seen


# Continuing


@pytest.fixture(scope="module")
def clips(tmp_path_factory, ground):
    """A video and a folder of frames."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "still").mkdir()
    frames = [ground[number // 2 : number // 2 + 320, number : number + 400] for number in range(90)]
    write_video(folder / "clip.mp4", frames, rate=240)
    for number in range(40):
        Image.fromarray(ground[number : number + 300, :300]).save(folder / "still" / f"{number}.png", compress_level=1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("kind", ["frames", "photos"])
def test_killed_and_continued_it_has_the_same_bytes(clips, photos, tmp_path, kind, jobs):
    inputs = [photos, "--pairs=6"] if kind == "photos" else [clips]
    command = [*map(str, inputs), "--from", kind, "--output"]
    assert run(*command, tmp_path / "whole", "--jobs", 3 - jobs) == 0
    total = len(manifest(tmp_path / "whole"))
    out, kills = tmp_path / "killed", 0
    begin = [sys.executable, "-m", "deepdeblur_tf.synthesize", *command, str(out), f"--jobs={jobs}"]
    for reached in (1, total // 2):
        process = subprocess.Popen(begin, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        record = out / "manifest.jsonl"
        while process.poll() is None and (not record.is_file() or record.read_bytes().count(b"\n") < reached):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills
    with open(out / "manifest.jsonl", "ab") as file:
        file.write(b'{"pair": "train/cut off')
    assert run(*command, out, "--jobs", jobs) == 0
    assert hashes(out) == hashes(tmp_path / "whole")


def test_what_is_done_is_not_made_again(of_photos, tmp_path, capsys):
    assert run(*of_photos) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("blur/*.png")}
    removed = next(iter(before))
    removed.unlink()
    capsys.readouterr()
    assert run(*of_photos) == 0
    assert "2 of 3 pairs are in" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("blur/*.png")}
    assert set(after) == set(before)
    assert [path for path in before if after[path] != before[path]] == [removed]


def test_the_training_that_it_proposes_has_a_run_of_its_own(photos, tmp_path, capsys):
    output = tmp_path / "my pairs"
    assert run(photos, "--from", "photos", "--pairs", 1, "--output", output) == 0
    (proposed,) = re.findall("^train on them: (.*)$", capsys.readouterr().out, re.M)
    _, _, module, *arguments = shlex.split(proposed)
    assert module == "deepdeblur_tf.train" and train([*arguments, "--print_config"]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    assert (settings["name"], settings["data"]["root"]) == ("my_pairs", str(output))


def test_other_settings_in_the_same_folder_are_refused_by_name(of_photos, photos, tmp_path, capsys):
    assert run(*of_photos) == 0
    whole = hashes(tmp_path / "out")
    for other, named in [
        (["--seed", 1], "seed: 0 / 1"),
        (["--pairs", 2], "pairs: 1 / 2"),
        (["--synthesis.path", 40], "synthesis.path: 30.0 / 40.0"),
        (["--profile", "gopro"], "synthesis.noise: 1.0 / 0.0"),
    ]:
        assert run(*of_photos, *other) == 2
        told = capsys.readouterr().err
        assert "holds another data set" in told and named in told
    Image.open(photos / "photo0.png").crop((0, 0, 256, 256)).save(photos / "photo0.png")
    assert run(*of_photos) == 2
    assert "photo0: photo0.png of" in capsys.readouterr().err
    assert hashes(tmp_path / "out") == whole


def test_two_processes_cannot_write_into_one_folder(photos, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    with filelock.FileLock(tmp_path / "out" / ".lock"):
        assert run(photos, "--from", "photos", "--output", tmp_path / "out") == 2
    assert "another process is writing" in capsys.readouterr().err


def test_a_folder_of_other_files_is_left_alone(photos, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert run(photos, "--from", "photos", "--output", tmp_path / "mine") == 2
    assert "holds other files" in capsys.readouterr().err
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_a_folder_that_a_full_disk_or_a_kill_left_at_its_very_beginning_is_continued(of_photos, tmp_path):
    assert run(*of_photos) == 0
    expected = hashes(tmp_path / "out")
    about = (tmp_path / "out" / "synthesis.json").read_bytes()
    for name, content in (("synthesis.json", about), (".deepdeblur_tf.0.part.json", about[:10])):
        shutil.rmtree(tmp_path / "out")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / name).write_bytes(content)
        assert run(*of_photos) == 0
        assert hashes(tmp_path / "out") == expected


def test_masks_below_the_photos_are_no_photos(of_photos, photos, tmp_path, capsys):
    (photos / "masks").mkdir()
    for path in sorted(photos.glob("*.png"))[:2]:
        mask = np.zeros((*Image.open(path).size[::-1], 3), np.uint8)
        mask[100:160, 100:160] = 255
        Image.fromarray(mask).save(photos / "masks" / path.name)
    assert run(*of_photos, "--masks", photos / "masks") == 0
    assert {entry["pair"].split("/")[1] for entry in manifest(tmp_path / "out")} == {"photo0", "photo1", "photo2"}


# Wrong inputs


def test_bad_inputs_are_listed_and_nothing_else_is_lost(write_frames, tmp_path, capsys):
    write_frames("in/good", 14)
    write_frames("in/few", 5)
    write_frames("in/small", 14, size=(128, 300))
    mixed = write_frames("in/two_sizes", 14)
    Image.open(mixed / "0006.png").resize((300, 300)).save(mixed / "0006.png")
    damaged = write_frames("in/damaged", 14)
    (damaged / "0003.png").write_bytes((damaged / "0003.png").read_bytes()[:9000])
    (tmp_path / "in" / "text.mp4").write_text("no video")
    flags = [tmp_path / "in", "--from", "frames", "--output", tmp_path / "out", "--frames", 7, "--test", 0]
    for _ in range(2):  # and the same when it is continued
        assert run(*flags) == 1
        told = capsys.readouterr().err
        assert "failed: 5\n" in told
        assert "few: has 5 frames; one blurry image takes 7" in told
        assert "small: is 300x128, smaller than the 256x256 patch" in told
        assert "0006.png: is 300x300, the frames before it are 256x256" in told
        assert "0003.png: does not decode" in told
        assert "text.mp4: not a readable video" in told
        pairs = [entry["pair"] for entry in manifest(tmp_path / "out")]
        assert pairs == ["train/damaged/000002", "train/good/000001", "train/good/000002"]
    Image.open(damaged / "0002.png").save(damaged / "0003.png", compress_level=1)
    # What is mended is another input, of which nothing may be mixed with what was made before.
    assert run(*flags) == 2
    assert "train/damaged: damaged of" in capsys.readouterr().err


def test_a_finished_scene_that_cannot_be_opened_makes_up_for_no_other(of_photos, photos, tmp_path, capsys):
    arguments = (*of_photos, "--pairs", 2, "--test", 0)
    assert run(*arguments) == 0
    lines = manifest(tmp_path / "out")
    kept = [line for line in lines if not line["pair"].startswith("train/photo2")]
    (tmp_path / "out" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    shutil.rmtree(tmp_path / "out" / "train" / "photo2")
    content = (photos / "photo0.png").read_bytes()
    (photos / "photo0.png").write_bytes(content[:24] + bytes(len(content) - 24))  # of the same size
    capsys.readouterr()
    assert run(*arguments) == 1
    assert f"failed: 1\n  {photos / 'photo0.png'}" in capsys.readouterr().err
    assert [line["pair"] for line in manifest(tmp_path / "out")] == [line["pair"] for line in lines]
    assert len(list((tmp_path / "out" / "train" / "photo2" / "sharp").iterdir())) == 2


def test_pairs_that_are_removed_meanwhile_are_not_done(of_photos, tmp_path, capsys, monkeypatch):
    arguments = (*of_photos, "--pairs", 2)
    add = DataSetFolder.add

    def removing(self, scene, made):
        add(self, scene, made)
        if made.number == 1:
            shutil.rmtree(self.folder / scene / "sharp")

    with monkeypatch.context() as patch:
        patch.setattr(DataSetFolder, "add", removing)
        assert run(*arguments) == 1
    said = capsys.readouterr()
    assert "failed: 3" in said.err and "photo1/000001: was made, and is not there any more" in said.err
    assert len(manifest(tmp_path / "out")) == 3
    assert run(*arguments) == 0 and len(manifest(tmp_path / "out")) == 6


def test_a_bad_line_of_the_manifest_blocks_nothing(of_photos, tmp_path, capsys):
    assert run(*of_photos) == 0
    known = hashes(tmp_path / "out")
    path = tmp_path / "out" / "manifest.jsonl"
    first, *rest = path.read_bytes().splitlines()
    entry = json.loads(first)
    bad = [b"[" * 100_000, b"\xff\0", b"5", b'{"pair": 5}', json.dumps({"pair": entry["pair"]}).encode(), b"{}"]
    path.write_bytes(b"\n".join([*bad, *rest, b""]))
    capsys.readouterr()
    assert run(*of_photos) == 0
    assert f"left out: {len(bad)} lines of {path}" in capsys.readouterr().out
    assert hashes(tmp_path / "out") == known
    (tmp_path / "out" / "synthesis.json").write_text("[" * 100_000)
    assert run(*of_photos) == 2 and "is not from this command" in capsys.readouterr().err


def test_bad_photos_and_masks_are_listed(of_photos, photos, tmp_path, capsys):
    Image.new("RGB", (300, 200)).save(photos / "small.png")
    (photos / "text.png").write_text("no picture")
    (photos / "cut.png").write_bytes((photos / "photo0.png").read_bytes()[:20000])
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.new("L", (300, 260), 255).save(masks / "photo0.png")
    Image.new("L", (300, 300), 255).save(masks / "photo1.png")
    Image.new("L", (300, 262), 0).save(masks / "photo2.png")
    Image.new("L", (300, 300), 255).save(masks / "photo9.png")
    assert run(*of_photos, "--masks", masks, "--test", 0) == 1
    told = capsys.readouterr().err
    assert "failed: 6\n" in told
    assert "small.png: is 300x200, smaller" in told
    assert "text.png: not a readable image" in told
    assert "cut.png: does not decode" in told
    assert "photo1.png: is 300x300, its photo 300x261" in told
    assert "photo2.png: is black; what is to be cut out" in told
    assert "photo9.png: there is no photo of this name" in told
    assert [entry["source"] for entry in manifest(tmp_path / "out")] == ["photo0.png", "photo1.png", "photo2.png"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["photos"], "photos: is a folder of pictures. Say what they are: with --from frames"),
        (["photos/photo0.png", "clip.mp4"], "received both: clip.mp4 and photos/photo0.png"),
        (["photos/photo0.png", "--from", "frames"], "is one picture; with --from frames give the folder"),
        (["clip.mp4", "--from", "photos"], "is a video, and --from photos takes photos"),
        (["notes.txt"], "no video or photo by its name"),
        (["empty"], "empty: holds nothing to begin with"),
        (["photos", "twice", "--from", "photos"], "would both become the scene photo0"),
        (["clip.mp4", "--pairs", "3"], "--pairs: this data set is made from frames"),
        (["clip.mp4", "--synthesis.path", "3"], "--synthesis.path: this data set is made from frames"),
        (["photos", "--from", "photos", "--frames", "7"], "--frames: this data set is made from photos"),
        (["photos", "--from", "photos", "--synthesis.jpeg", "2"], "synthesis.jpeg: received '2'; allowed: a number"),
        (["photos", "--from", "photos", "--masks", "nowhere"], "--masks nowhere: no such folder"),
        (["photos", "--from", "photos", "--masks", "empty"], "--masks empty: holds no mask of a photo"),
    ],
)
def test_wrong_inputs_are_a_sentence(arguments, said, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "twice"):
        os.mkdir(name)
    for name in ("clip.mp4", "notes.txt", "twice/photo0.png"):
        (tmp_path / name).touch()
    assert main([*arguments, "--output", "out"]) == 2
    assert said in capsys.readouterr().err
    assert not os.path.exists("out")


@pytest.mark.parametrize("flag", ["--frames=8", "--frames=1", "--size=100x900", "--size=big", "--test=1", "--jobs=0"])
def test_wrong_flags_say_what_is_allowed(flag, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["x.mp4", "--output=out", flag])
    assert stop.value.code == 2
    assert "; allowed: " in capsys.readouterr().err
