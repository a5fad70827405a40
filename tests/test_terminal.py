"""What a terminal and a shell do to a command: names that would move the cursor, signals, a terminal that is closed."""

import contextlib
import fcntl
import os
import pickle
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import imageio.v3 as iio
import pytest

from deepdeblur_tf import evaluate, export, import_torch, predict, predict_many, serve, synthesize, train
from deepdeblur_tf.command_line import answered
from deepdeblur_tf.creation.folder import DataSetFolder
from deepdeblur_tf.data.paired_files import PairedSplit
from deepdeblur_tf.data.photos import PhotoSplit
from deepdeblur_tf.data.sources import Pair
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.evaluation import comparison
from deepdeblur_tf.files import UNFINISHED
from deepdeblur_tf.serving import version
from deepdeblur_tf.terminal import on_stops, printable, shown_name
from tests.helpers import ROOT, SMALL_FLAGS, terminal

BAD = "a\x1b]0;title\x07\r\x9b31m\u202egpj.\n\x7f"
SHOWN = r"a\x1b]0;title\x07\r\x9b31m\u202egpj."


@pytest.fixture(autouse=True)
def heard():
    """Signals do what they do by themselves, though the tests may run behind nohup."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_what_a_name_does_to_a_terminal_is_shown_and_not_done():
    assert printable(BAD) == f"{SHOWN}\n\\x7f"
    assert printable(os.fsdecode(b"\xff")) == r"\udcff"
    assert shown_name(BAD) == rf"{SHOWN}\n\x7f"
    for text in ("größe 模型 é é 👨‍👩‍👧 \u200d", "two\nlines\tand a tab"):
        assert printable(text) == text


def test_all_that_a_command_prints_is_printable(capsys):
    def command():
        print(BAD)
        print(BAD, file=sys.stderr)
        raise UserError(f"{BAD}: not there")

    before = sys.stdout, sys.stderr
    assert answered(command, "stopped") == 2
    assert (sys.stdout, sys.stderr) == before
    out, err = capsys.readouterr()
    assert out == f"{SHOWN}\n\\x7f\n"
    assert err == rf"{out}error: {SHOWN}\n\x7f: not there" + "\n"


def test_a_line_break_in_a_name_is_none_of_a_message():
    error = UserError("a\nb.png: is no picture.", "  c\td: neither")
    assert (
        str(error) == str(pickle.loads(pickle.dumps(error))) == r"a\nb.png: is no picture." + "\n" + r"  c\td: neither"
    )


@pytest.mark.parametrize(
    "main, arguments",
    [
        (predict.main, ["photographs", "NAME", "--output", "out"]),
        (predict.main, ["NAME", "in", "--output", "out"]),
        (predict_many.main, ["NAME", "in", "--output", "out"]),
        (evaluate.main, ["photographs", "--data", "NAME"]),
        (evaluate.main, ["photographs", "--data", "scenes", "--images", "1", "--output", "NAME"]),
        (train.main, ["--config", "NAME"]),
        (train.main, ["--data.root", "NAME"]),
        (export.main, ["photographs", "out", "--check_image", "NAME"]),
        (import_torch.main, ["NAME", "out.keras"]),
        (synthesize.main, ["NAME", "--output", "out"]),
        (serve.main, ["NAME"]),
    ],
)
def test_a_message_about_a_name_with_a_line_break_is_one_line(main, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name = "one\nother"
    if "--images" in arguments:
        (tmp_path / name).write_text("a file")
    assert main([argument.replace("NAME", name) for argument in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and r"one\nother" in line


def test_what_a_data_set_holds_is_a_line_each(tmp_path):
    folder = PairedSplit(tmp_path, "train", "gopro", "blur", (Pair("s\nt", "s\nt/1", tmp_path / "b", tmp_path / "s"),))
    assert len(folder.describe().splitlines()) == 2
    photos = PhotoSplit(Path("p\nq"), "train", (Path("p\nq/1.png"),), ("two: no picture",))
    assert photos.describe().splitlines() == [r"train: pairs made from 1 photo in p\nq", "  left out: two: no picture"]


def test_names_of_files_reach_no_terminal(model, tmp_path, scenes, capfd):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"{BAD}.png").write_bytes(b"no picture")
    (tmp_path / "in" / f"x.{BAD}").write_bytes(b"no picture")
    iio.imwrite(tmp_path / "in" / "good.png", scenes[0][0])
    os.rename(tmp_path / "in" / "good.png", tmp_path / "in" / f"{BAD}good.png")
    with terminal() as (screen, shown), contextlib.ExitStack() as streams:
        drawn = streams.enter_context(open(screen, "w", closefd=False))
        streams.enter_context(contextlib.redirect_stderr(drawn))
        streams.enter_context(contextlib.redirect_stdout(drawn))
        assert predict.main([str(model), str(tmp_path / "in"), "--output", str(tmp_path / "out")]) == 1
    text = b"".join(shown).decode()
    assert SHOWN in text and "|" in text  # the bar is drawn
    assert not {"\x07", "\x9b", "\u202e", "\x7f"} & set(text) and "\x1b]" not in text
    assert text.count(rf"{SHOWN}\n\x7f.png: ") == 1


def send(number, before):
    """The function `before`, which first sends a signal to this process, once."""
    left = [number]

    def sending(*arguments, **named):
        if left:
            os.kill(os.getpid(), left.pop())
            time.sleep(0.01)
        return before(*arguments, **named)

    return sending


@pytest.mark.slow
@pytest.mark.parametrize(
    "command, number",
    [
        ("predict", signal.SIGHUP),
        ("predict", signal.SIGTERM),
        ("evaluate", signal.SIGHUP),
        ("export", signal.SIGTERM),
        ("synthesize", signal.SIGTERM),
    ],
)
def test_a_stop_leaves_nothing_half_made(command, number, model, tmp_path, scenes, capfd, monkeypatch):
    (tmp_path / "in").mkdir()
    for index in range(2):
        iio.imwrite(tmp_path / "in" / f"{index}.png", scenes[index][0])
    out = tmp_path / "out"
    main, owner, name, arguments = {
        "predict": (predict.main, predict, "run_job", [model, tmp_path / "in", "--output", out]),
        "evaluate": (evaluate.main, comparison, "measure", [model, "--data", "scenes", "--images", 2, "--output", out]),
        "export": (export.main, version, "_write_warm_up", [model, out]),
        "synthesize": (
            synthesize.main,
            DataSetFolder,
            "add",
            [tmp_path / "in", "--from", "photos", "--pairs", 2, "--output", out],
        ),
    }[command]
    arguments = [str(argument) for argument in arguments]
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, send(number, getattr(owner, name)))
        assert main(arguments) == 130
    assert signal.getsignal(number) == handler
    err = capfd.readouterr().err
    assert "\nstopped. " in err and "Traceback" not in err
    assert not list(out.rglob(UNFINISHED)) and not (out / ".deepdeblur.part").exists()
    assert main(arguments) == 0


def test_a_signal_that_is_ignored_stays_so():
    """As SIGHUP is after nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert answered(lambda: os.kill(os.getpid(), signal.SIGHUP) or 0, "stopped") == 0
    with on_stops(lambda *_: None):
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "train"])
def test_a_terminal_that_is_closed_stops_a_command(command, tmp_path, model, scenes):
    (tmp_path / "in").mkdir()
    for index in range(200):
        iio.imwrite(tmp_path / "in" / f"{index}.png", scenes[index % 2][0])
    arguments, sign = {
        "predict": ([model, tmp_path / "in", "--output", tmp_path / "out"], "[0-9]*.png"),
        "train": ([*SMALL_FLAGS, "--training.epochs=5000", "--output", tmp_path / "out"], "checkpoints/last/*.sha256"),
    }[command]
    screen, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", f"deepdeblur_tf.{command}", *map(str, arguments)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(inside)
    with process:
        try:
            os.set_blocking(screen, False)
            while not list((tmp_path / "out").glob(sign)):
                assert process.poll() is None
                with contextlib.suppress(BlockingIOError):
                    os.read(screen, 1 << 16)
                time.sleep(0.05)
            os.close(screen)
            assert process.wait(120) in (130, 141)
        finally:
            process.kill()
    assert not list((tmp_path / "out").rglob(UNFINISHED))
