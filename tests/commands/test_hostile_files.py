"""Files that are not what their names say: none of them is run, and none is waited for."""

import os
import threading

import numpy as np
import pytest
from PIL import Image

from deepdeblur_tf import evaluate, export, predict, synthesize, train
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images.picture_files import photo_pixels, read_photo
from deepdeblur_tf.images.rgb import image_size, read_rgb
from tests.helpers import SMALL_FLAGS

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 300 300\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """The log of a program named gs, which does nothing else."""
    log = tmp_path / "gs.log"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    # What Pillow found at an earlier call.
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return log


def pictures(folder, count=2, size=(256, 256)):
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def run(command, *arguments):
    return command.main([str(argument) for argument in arguments])


def test_the_log_shows_what_pillow_runs(tmp_path, ghostscript):
    (tmp_path / "a.png").write_bytes(EPS)
    with pytest.raises(Exception), Image.open(tmp_path / "a.png") as image:  # noqa: B017
        image.load()
    assert ghostscript.exists()


@pytest.mark.slow
def test_no_command_runs_an_eps(tmp_path, ghostscript, capfd):
    for folder in ("pairs/train/input", "pairs/train/target", "pairs/test/input", "pairs/test/target", "photos"):
        pictures(tmp_path / folder)
        (tmp_path / folder / "0.png").write_bytes(EPS)
    for folder in ("masks", "frames/a"):
        pictures(tmp_path / folder, 9)
        (tmp_path / folder / "1.png").write_bytes(EPS)
    bad = tmp_path / "photos" / "0.png"
    for read in (image_size, read_rgb, read_photo, photo_pixels):
        with pytest.raises(UserError, match="0.png"):
            read(bad)
    statuses = [
        run(train, "--data.root", tmp_path / "pairs", "--output", tmp_path / "run", *SMALL_FLAGS),
        run(train, "--data.layout", "photos", "--data.root", tmp_path / "photos", "--output", tmp_path / "run2"),
        run(evaluate, "photographs", "--data", tmp_path / "pairs", "--output", tmp_path / "evaluated"),
        run(export, "photographs", tmp_path / "export", "--check_image", bad),
        run(predict, "photographs", bad, "--output", tmp_path / "restored"),
    ]
    assert statuses == [2, 2, 2, 2, 1]
    made = [
        run(synthesize, tmp_path / "photos", "--from", "photos", "--output", tmp_path / "made", "--pairs", 1),
        run(synthesize, tmp_path / "frames", "--from", "frames", "--output", tmp_path / "made2"),
    ]
    masks = ("--masks", tmp_path / "masks")
    made.append(run(synthesize, tmp_path / "photos" / "1.png", "--output", tmp_path / "m", "--pairs", 1, *masks))
    assert made == [1, 1, 2]
    assert not ghostscript.exists()


@pytest.mark.slow
def test_a_pipe_in_a_folder_is_named_and_not_waited_for(tmp_path, capfd):
    for folder in ("pairs/input", "pairs/target", "photos"):
        pictures(tmp_path / folder)
        (tmp_path / folder / "0.png").unlink()
        os.mkfifo(tmp_path / folder / "0.png")
    os.mkfifo(tmp_path / "photos" / "2.mp4")
    statuses = []
    commands = [
        (predict, "photographs", tmp_path / "photos", "--output", tmp_path / "restored"),
        (train, "--data.root", tmp_path / "pairs", "--output", tmp_path / "run", *SMALL_FLAGS),
        (synthesize, tmp_path / "photos", "--from", "photos", "--output", tmp_path / "made", "--pairs", 1),
        (evaluate, "photographs", "--data", tmp_path / "pairs", "--output", tmp_path / "evaluated"),
    ]

    def work():
        statuses.extend(run(*command) for command in commands)

    thread = threading.Thread(target=work, daemon=True)  # it would wait for ever
    thread.start()
    thread.join(500)
    said = capfd.readouterr().err
    assert statuses == [1, 2, 1, 2]
    assert said.count("0.png: is a folder, a pipe or a device, and no file") == 4
    assert "2.mp4: is a folder, a pipe or a device, and no file" in said
