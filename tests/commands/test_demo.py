"""The page, driven in a real browser."""

import http.server
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

import imageio.v3 as iio
import numpy as np
import pytest

from deepdeblur_tf import demo
from deepdeblur_tf.compat import tf
from deepdeblur_tf.model import build_model
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.restoration.restorer import restore
from tests.helpers import ROOT

pytest.importorskip("gradio", reason="no gradio, which needs Python 3.10")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
MILLISECONDS = 90_000  # how long a step may take before the test fails


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    tf.keras.utils.set_random_seed(2)
    path = tmp_path_factory.mktemp("model") / "small.keras"
    build_model(blocks=1, filters=4, kernel_size=3).save(path)
    return path


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    """The page's address, while it is served by its own process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("temporary")
    command = [sys.executable, "-m", "deepdeblur_tf.demo", model, "--port", str(port)]
    command += ["--max_pixels", "1000000", "--max_upload", "1"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert f"open http://127.0.0.1:{port}" in line
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert not list(folder.glob("deepdeblur_tf_*"))  # pictures of its users


@pytest.fixture
def page(address):
    sync_api = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(MILLISECONDS)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("input[type=file]", state="attached")
        yield page
        browser.close()
        assert all(url.startswith((address, "data:", "blob:")) for url in asked)  # nobody else is told


def drop(page, name, content):
    page.locator("input[type=file]").first.set_input_files({"name": name, "mimeType": "image/png", "buffer": content})


def download(page, folder):
    with page.expect_download() as expected:
        page.get_by_text("Download the restored picture").click()
    path = folder / expected.value.suggested_filename
    expected.value.save_as(path)
    return path


@pytest.mark.slow
@pytest.mark.browser
def test_a_picture_is_restored_shown_under_a_slider_and_downloaded(page, model, tmp_path, random):
    image = random.integers(0, 256, (120, 200, 3), dtype=np.uint8)
    drop(page, "holiday.png", iio.imwrite("<bytes>", image, extension=".png"))
    page.wait_for_selector("text=200x120 pixels")
    slider = page.locator("[data-testid=imageslider], .slider-wrap, .slider").first
    box = slider.bounding_box()
    before = slider.screenshot()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 5, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert slider.screenshot() != before
    path = download(page, tmp_path)
    assert path.name == "holiday_restored.png"
    expected = restore(load_model(model), image)
    np.testing.assert_array_equal(iio.imread(path), expected)


@pytest.mark.slow
@pytest.mark.browser
def test_a_sample_is_restored_by_a_click(page, tmp_path):
    page.get_by_label("Thumbnail 2 of 4").click()
    page.wait_for_selector("text=256x256 pixels")
    assert download(page, tmp_path).name == "sample_2_restored.png"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb():
    """A PNG that claims 60000x60000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def scans():
    """A JPEG of a few kilobytes, and a thousand scans."""
    data = iio.imwrite("<bytes>", np.zeros((99, 99, 3), np.uint8), extension=".jpg", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 1000 + data[-2:]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(
    "name, content, words",
    [
        ("notes.png", b"no picture at all", "notes.png: not a readable image"),
        ("bomb.png", bomb(), "bomb.png has 3600.0 megapixels"),
        ("large.png", iio.imwrite("<bytes>", np.zeros((1001, 1000, 3), np.uint8), extension=".png"), "1.0 megapixels"),
        ("moving.png", b"GIF89a" + bytes(300), "moving.png: is a GIF"),
        ("thin.png", iio.imwrite("<bytes>", np.zeros((1, 70_000, 3), np.uint8), extension=".png"), "sides of 65535"),
        ("scans.jpg", scans(), "a JPEG of more than 200 scans"),
    ],
    ids=["text", "bomb", "large", "gif", "thin", "scans"],
)
def test_a_bad_file_gets_a_clear_word_and_the_next_one_works(page, name, content, words):
    drop(page, name, content)
    page.wait_for_selector(f"text={words}")
    assert "/" + tempfile.gettempdir().strip("/") not in page.locator("body").inner_text()  # no paths of the server
    page.get_by_label("Remove this file").or_(page.get_by_label("Clear")).first.click()
    drop(page, "good.png", iio.imwrite("<bytes>", np.zeros((20, 30, 3), np.uint8), extension=".png"))
    page.wait_for_selector("text=30x20 pixels")


@pytest.mark.slow
@pytest.mark.browser
def test_an_upload_is_bounded(page, random):
    noise = random.integers(0, 256, (700, 700, 3), dtype=np.uint8)
    drop(page, "noise.png", iio.imwrite("<bytes>", noise, extension=".png"))
    page.wait_for_selector("text=/exceeds|too large|maximum/i")


@pytest.mark.slow
def test_a_program_gets_a_picture_restored(address, model, tmp_path, random):
    import gradio_client

    image = random.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    iio.imwrite(tmp_path / "holiday.png", image)
    client = gradio_client.Client(address, verbose=False, download_files=str(tmp_path))
    _, download, words = client.predict(gradio_client.handle_file(tmp_path / "holiday.png"), api_name="/of_file")
    path = download["value"] if isinstance(download, dict) else download
    assert path.endswith("holiday_restored.png") and words.startswith("90x60 pixels in")
    np.testing.assert_array_equal(iio.imread(path), restore(load_model(model), image))


@pytest.mark.slow
def test_an_address_is_not_fetched(address):
    import gradio_client

    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://localhost:{server.server_port}/picture.png"
        client = gradio_client.Client(address, verbose=False)
        with pytest.raises(gradio_client.exceptions.AppError, match="Upload the picture itself"):
            client.predict({"path": url, "meta": {"_type": "gradio.FileData"}}, api_name="/of_file")
        server.shutdown()
    assert not asked


def test_old_results_are_removed(tmp_path):
    from deepdeblur_tf.restoration.page import KEPT_SECONDS, remove_old

    for name, age in (("old", KEPT_SECONDS + 60), ("new", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a_restored.png").write_bytes(b"")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    remove_old(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--port", "99999"], "--port: received 99999; allowed: 1 to 65535"),
        (["--port", "0"], "--port: received 0"),
        (["--host", "1.2.3.4"], "--host: received '1.2.3.4', where this machine cannot listen"),
        (["--host", "no such host"], "--host: received 'no such host'"),
        (["--max_pixels", "0"], "--max_pixels: received 0; allowed: a whole number above 0"),
        (["--tile", "130"], "tile must be a multiple of 4 pixels"),
    ],
)
def test_wrong_settings_are_named_at_once(model, capsys, arguments, words):
    assert demo.main([str(model), *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_a_port_in_use_is_named(model, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert demo.main([str(model), "--port", str(port)]) == 2
    assert f"--port: received {port}; allowed: a port that is free" in capsys.readouterr().err


def test_a_wrong_model_is_named_at_once(tmp_path, capsys):
    assert demo.main([str(tmp_path / "none")]) == 2
    assert "no such run" in capsys.readouterr().err
