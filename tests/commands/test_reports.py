"""Nothing that the commands start reports anything to anyone: who is connected to, and what names are looked up."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from tests.helpers import FILES, ROOT, SMALL_FLAGS, free_port

OWN = ("GRADIO_ANALYTICS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "RAY_USAGE_STATS_ENABLED")  # what the commands set

# In every Python process, whether a command is it or begins it.
RECORDER = """
import os, sys

def record(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"):
        where = arguments[-1] if event.startswith(("socket.connect", "socket.send")) else arguments[0]
        with open(os.environ["RECORD"], "a") as file:
            file.write(f"{event} {where!r}\\n")

sys.addaudithook(record)
"""

# All commands but the page, one after the other.
COMMANDS = """
import sys
from pathlib import Path
from deepdeblur_tf import evaluate, export, import_torch, predict, predict_many, synthesize, train

def run(command, *arguments):
    assert command.main([str(argument) for argument in arguments]) == 0, (command, arguments)

here, checkpoint, has_ray, has_openvino, *small = sys.argv[1:]
here = Path(here)
run(train, "--output", here / "run", *small)
run(evaluate, here / "run", "--data", "scenes", "--images", 2, "--output", here / "evaluated")
run(predict, here / "run", here / "photos", "--output", here / "restored")
if has_openvino == "True":
    run(predict, here / "run", here / "photos", "--output", here / "by_openvino", "--runtime", "openvino")
run(export, here / "run", here / "export", *["--format", "openvino"][: 2 * (has_openvino == "True")])
run(import_torch, checkpoint, here / "torch.keras")
run(synthesize, here / "photos", "--from", "photos", "--pairs", 1, "--output", here / "made")
if has_ray == "True":
    run(predict_many, here / "run", here / "photos", "--output", here / "many")
"""

PAGE = """
import os, signal, sys, threading, time, urllib.request
from deepdeblur_tf import demo

port = int(sys.argv[2])

def look():
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}").read()
            break
        except OSError:
            time.sleep(0.1)
    time.sleep(2)
    os.kill(os.getpid(), signal.SIGTERM)  # SIGINT is ignored where tests run in a shell's background

threading.Thread(target=look, daemon=True).start()
sys.exit(0 if demo.main([sys.argv[1], "--port", str(port)]) in (0, 130) else 1)
"""


@pytest.fixture
def record(tmp_path):
    """Runs Python code with arguments; returns what it said to whom, line by line."""
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(RECORDER)
    (tmp_path / "home").mkdir()
    log = tmp_path / "record.txt"
    # Some report nothing where CI tells them that they are tested.
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", *OWN)}
    environment.update(RECORD=str(log), HOME=str(tmp_path / "home"))
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "start"), str(ROOT)])

    def run(code, *arguments):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert process.returncode == 0, process.stdout + process.stderr
        return log.read_text().splitlines() if log.exists() else []

    return run


def assert_stays_here(lines):
    """Of connections and look-ups: with this machine only, by its numbers or its own name."""
    here = rf"'(127\.[\d.]+|::1|::ffff:127\.[\d.]+|localhost|{re.escape(os.uname().nodename)}|0\.0\.0\.0|)'"
    others = [
        line
        for line in lines
        if not re.match(rf"socket\.\w+ (\({here}, \d+.*\)|b?{here}|'/.*'|b'.*/.*'|b'\\x00.*|None)$", line)
    ]
    assert others == []


@pytest.mark.slow
def test_commands_report_to_nobody(tmp_path, record):
    (tmp_path / "photos").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (256, 260, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    has = [find_spec(package) is not None for package in ("ray", "openvino")]
    lines = record(COMMANDS, tmp_path, FILES / "torch" / "network.pt", *has, *SMALL_FLAGS)
    assert_stays_here(lines)
    assert not has[0] or lines  # Ray's processes talk to each other
    known = {".keras", ".cache", ".config"}  # of Keras, of matplotlib: settings and fonts
    assert {path.name for path in (tmp_path / "home").iterdir()} <= known


@pytest.mark.slow
def test_the_page_reports_to_nobody(tmp_path, record):
    pytest.importorskip("gradio", reason="no gradio, which needs Python 3.10")
    lines = record(PAGE, "photographs", free_port())
    assert lines
    assert_stays_here(lines)


@pytest.mark.slow
def test_the_record_shows_who_is_told(tmp_path, record):
    pytest.importorskip("openvino_telemetry")
    lines = record("import openvino, time; time.sleep(1)")
    with pytest.raises(AssertionError, match="google-analytics"):
        assert_stays_here(lines)
