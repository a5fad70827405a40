"""The page, driven in a real browser."""

import http.server
import os
import re
import shutil
import socket
import struct
import tempfile
import threading
import time
import zipfile
import zlib
from types import SimpleNamespace

import imageio.v3 as iio
import numpy as np
import pytest

from deepdeblur_tf import demo
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.restoration.restorer import Restorer, restore
from deepdeblur_tf.restoration.uploads import Upload
from tests.helpers import answering, png, write_network

pytest.importorskip("gradio", reason="no gradio, which needs Python 3.10")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
MILLISECONDS = 90_000  # how long a step may take before the test fails


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("model") / "small.keras", 2, global_skip=False)


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    """The page's address, while it is served by its own process."""
    folder = tmp_path_factory.mktemp("temporary")
    flags = ["--max_pixels", "1000000", "--max_upload", "1"]
    with answering("demo", model, *flags, TMPDIR=str(folder)) as (process, address):
        yield f"http://{address}"
        process.terminate()
        assert process.wait(30) == 0
    assert not list(folder.glob("deepdeblur_tf_*"))  # pictures of its users


@pytest.fixture
def page(address):
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        executable = BROWSER or playwright.chromium.executable_path
        if not os.path.exists(executable):
            pytest.skip("no Chromium on this machine")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(MILLISECONDS)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("input[type=file]", state="attached")
        yield page
        browser.close()
        assert all(url.startswith((address, "data:", "blob:")) for url in asked)  # nobody else is told


def drop(page, *files):
    """Drops files, each (name, content), after those that are there are taken away."""
    page.get_by_label("Clear").or_(page.locator("input[type=file]")).first.wait_for(state="attached")
    if page.get_by_label("Clear").count():
        page.get_by_label("Clear").first.click()
    payload = [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in files]
    page.locator("input[type=file]").first.set_input_files(payload)


def smooth(height, width):
    """A picture whose file is small, as the page of these tests takes it."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows % 256, columns % 256, (rows + columns) // 2 % 256], axis=2).astype(np.uint8)


def download(page, folder, button="Download the restored picture"):
    with page.expect_download() as expected:
        page.get_by_text(button).click()
    path = folder / expected.value.suggested_filename
    expected.value.save_as(path)
    return path


@pytest.mark.slow
@pytest.mark.browser
def test_a_picture_is_restored_shown_under_a_slider_and_downloaded(page, model, tmp_path, random):
    image = random.integers(0, 256, (120, 200, 3), dtype=np.uint8)
    drop(page, ("holiday.png", png(image)))
    page.wait_for_selector("text=holiday.png: 200x120 pixels, restored at scale 1 in")
    slider = page.locator("#pictures")
    box = slider.bounding_box()
    before = slider.screenshot()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 5, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert slider.screenshot() != before
    assert slider.get_by_label("Download").count() == 0  # it would give the preview
    assert "parameters" not in page.locator("body").inner_text()
    path = download(page, tmp_path)
    assert path.name == "holiday_restored.png"
    np.testing.assert_array_equal(iio.imread(path), restore(load_model(model), image))


@pytest.mark.slow
@pytest.mark.browser
def test_the_scale_is_chosen_and_a_picture_restored_anew(page, model, tmp_path):
    image = smooth(120, 200)
    drop(page, ("holiday.png", png(image)))
    page.wait_for_selector("text=restored at scale 1 in")
    page.get_by_label("0.5", exact=True).click()
    page.wait_for_selector("text=restored at scale 0.5 in")
    expected = restore(load_model(model), image, scale=0.5)
    np.testing.assert_array_equal(iio.imread(download(page, tmp_path)), expected)


@pytest.mark.slow
@pytest.mark.browser
def test_several_pictures_come_with_a_download_each_and_one_of_all(page, tmp_path):
    drop(page, ("a.png", png(smooth(60, 80))), ("our film.mp4", bytes(50)), ("b.png", png(smooth(40, 50))))
    page.wait_for_selector("text=b.png: 50x40 pixels")
    assert "our film.mp4: is a video" in page.locator("#status").inner_text()
    assert "deepdeblur restore --model MODEL 'our film.mp4'" in page.locator("#status").inner_text()
    assert download(page, tmp_path).name == "a_restored.png"
    with zipfile.ZipFile(download(page, tmp_path, "Download all, as a zip")) as archive:
        assert archive.namelist() == ["a_restored.png", "b_restored.png"]
    page.locator("#several").get_by_label("Thumbnail 2 of 2").click()
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(page.locator("#pictures img").first).to_have_js_property("naturalWidth", 50)
    path = download(page, tmp_path)
    assert path.name == "b_restored.png"
    assert iio.imread(path).shape == (40, 50, 3)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_pixel_is_a_pixel_in_the_view_at_100_percent(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    image = smooth(500, 1990)
    drop(page, ("wide.png", png(image)))
    page.wait_for_selector("text=wide.png: 1990x500 pixels")
    page.get_by_label("100 %").click()
    for name, value in (("Across", "100"), ("Down", "0")):
        page.get_by_label(f"number input for {name}").fill(value)
        page.get_by_label(f"number input for {name}").press("Enter")
    blurry = page.locator("#pictures img").first
    expect = pytest.importorskip("playwright.sync_api").expect
    inner = page.locator("#pictures").evaluate("element => element.clientWidth")
    expect(blurry).to_have_js_property("naturalWidth", inner)
    expect(blurry).to_have_js_property("clientWidth", inner)
    page.wait_for_timeout(500)
    shown = iio.imread(page.request.get(blurry.get_attribute("src")).body())
    np.testing.assert_array_equal(shown, image[: shown.shape[0], -inner:])


@pytest.mark.slow
@pytest.mark.browser
def test_on_a_phone_the_result_is_what_one_sees(page):
    page.set_viewport_size({"width": 390, "height": 844})

    def is_seen():
        box = page.locator("#pictures").bounding_box()
        assert 0 <= box["y"] and box["y"] + box["height"] <= 844
        assert page.locator("#examples").bounding_box()["y"] > box["y"]
        assert page.evaluate("document.documentElement.scrollWidth") <= 390

    drop(page, ("holiday.png", png(smooth(400, 300))))
    page.wait_for_selector("text=holiday.png: 300x400 pixels")
    page.wait_for_function("document.querySelector('#pictures img')?.complete && scrollY === 0")
    is_seen()
    page.locator("#examples").get_by_label("Thumbnail 4 of 4").click()  # for which one scrolls down
    page.wait_for_selector("text=rocket.jpg: 600x384 pixels")
    page.wait_for_function("scrollY === 0")
    is_seen()


@pytest.mark.slow
@pytest.mark.browser
def test_a_sample_is_restored_by_a_click(page, tmp_path):
    page.locator("#examples").get_by_label("Thumbnail 2 of 4").click()
    page.wait_for_selector("text=coffee.jpg: 560x360 pixels")
    assert download(page, tmp_path).name == "coffee_restored.jpg"


def test_every_sample_names_its_photo_and_licence():
    from deepdeblur_tf.restoration.page import EXAMPLES

    names = [path.name for path in EXAMPLES.glob("*.jpg")]
    table = (EXAMPLES / "examples.md").read_text(encoding="utf-8")
    assert sorted(names) == sorted(re.findall(r"^\| `(.+?)` \| .+ \| (?:CC0|public domain) \|", table, re.M))
    assert sum(path.stat().st_size for path in EXAMPLES.iterdir()) < 400_000


@pytest.mark.slow
def test_the_time_left_is_that_of_this_picture(model, tmp_path):
    from deepdeblur_tf.restoration.page import _status

    class Watching(Upload):
        """Keeps what a visitor could see at each tile."""

        def _progress(self, fraction):
            seen.append((self.stage, self.times))
            time.sleep(0.05)
            super()._progress(fraction)

    seen = []
    iio.imwrite(tmp_path / "a.png", smooth(600, 500))
    restorer = Restorer(load_model(model), tile=256)
    result = Watching(str(tmp_path / "a.png"), 1).restored(restorer, 10**6, "predict", tmp_path)
    assert "500x600 pixels, restored at scale 1" in result.words
    stages, times = zip(*seen)
    assert set(stages) == {"restoring"} and len(stages) == restorer.tiles
    assert all(seconds > 0 for _, seconds in times)  # before the first tile, too: that is the probe's
    since, seconds = times[-1]
    assert since <= seconds < 3 * since  # by then the tiles have told
    assert "restoring, 25 %, about 30 s left" in _status([], "restoring", (10, 40))
    assert "about 3 min left" in _status([], "restoring", (20, 200))
    assert "longer than expected" in _status([], "restoring", (50, 40))


def test_a_stopped_picture_leaves_nothing(model, tmp_path):
    class Stopping(Upload):
        def _progress(self, fraction):
            self.stop()
            super()._progress(fraction)

    iio.imwrite(tmp_path / "a.png", smooth(600, 500))
    (tmp_path / "results").mkdir()
    restorer = Restorer(load_model(model), tile=256)
    assert Stopping(str(tmp_path / "a.png"), 1).restored(restorer, 10**6, "predict", tmp_path / "results") is None
    assert not list((tmp_path / "results").iterdir())


def test_what_is_sent_to_a_browser_is_of_a_screens_size(model, tmp_path):
    iio.imwrite(tmp_path / "a.png", smooth(100, 4000))
    result = Upload(str(tmp_path / "a.png"), 1).restored(Restorer(load_model(model)), 10**6, "predict", tmp_path)
    assert iio.imread(result.file).shape == (100, 4000, 3)
    assert [iio.imread(preview).shape for preview in result.previews] == [(50, 2000, 3)] * 2


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
        ("bomb.png", bomb(), "bomb.png: has 60000x60000 pixels, 3600.0 megapixels"),
        ("large.png", png(np.zeros((1001, 1000, 3), np.uint8)), "begin the page with a larger --max_pixels"),
        ("moving.png", b"GIF89a" + bytes(300), "moving.png: is a GIF"),
        ("thin.png", png(np.zeros((1, 70_000, 3), np.uint8)), "sides of 65535"),
        ("scans.jpg", scans(), "a JPEG of more than 200 scans"),
    ],
    ids=["text", "bomb", "large", "gif", "thin", "scans"],
)
def test_a_bad_file_gets_a_clear_word_and_the_next_one_works(page, name, content, words):
    drop(page, (name, content))
    page.wait_for_selector(f"text={words}")
    assert "/" + tempfile.gettempdir().strip("/") not in page.locator("body").inner_text()  # no paths of the server
    drop(page, ("good.png", png(np.zeros((20, 30, 3), np.uint8))))
    page.wait_for_selector("text=30x20 pixels")


@pytest.mark.slow
@pytest.mark.browser
def test_an_upload_is_bounded(page, random):
    noise = random.integers(0, 256, (700, 700, 3), dtype=np.uint8)
    drop(page, ("noise.png", png(noise)))
    page.wait_for_selector("text=/exceeds|too large|maximum/i")


@pytest.mark.slow
def test_a_program_gets_a_picture_restored(address, model, tmp_path, random):
    import gradio_client

    image = random.integers(0, 256, (60, 90, 3), dtype=np.uint8)
    iio.imwrite(tmp_path / "holiday.png", image)
    client = gradio_client.Client(address, verbose=False, download_files=str(tmp_path))
    pictures = [gradio_client.handle_file(tmp_path / "holiday.png")]
    words, download, *_ = client.predict(pictures, "auto", api_name="/restore")
    path = download["value"] if isinstance(download, dict) else download
    assert path.endswith("holiday_restored.png") and "holiday.png: 90x60 pixels, restored at scale 1 in" in words
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
            client.predict([{"path": url, "meta": {"_type": "gradio.FileData"}}], "auto", api_name="/restore")
        server.shutdown()
    assert not asked


def test_all_results_are_in_the_zip(tmp_path):
    from deepdeblur_tf.restoration.page import _zipped

    names = ("3_a.png", "a.png", "a.png", "3_a.png")
    for number, name in enumerate(names):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / name).write_bytes(bytes([number]))
    done = [SimpleNamespace(file=tmp_path / str(number) / name) for number, name in enumerate(names)]
    with zipfile.ZipFile(_zipped(done, tmp_path)) as archive:
        assert sorted(map(archive.read, set(archive.namelist()))) == [bytes([number]) for number in range(4)]


def test_a_page_outlives_its_temporary_folder(model, tmp_path):
    from deepdeblur_tf.restoration.page import remove_old

    iio.imwrite(tmp_path / "a.png", smooth(40, 30))
    upload = Upload(str(tmp_path / "a.png"), 1)
    assert upload.restored(Restorer(load_model(model)), 10**6, "predict", tmp_path / "gone" / "results").file.is_file()
    shutil.rmtree(tmp_path / "gone")
    remove_old(tmp_path / "gone" / "results")
    assert (tmp_path / "gone" / "results").is_dir()


def test_old_results_are_removed(tmp_path):
    from deepdeblur_tf.restoration.page import KEPT_SECONDS, remove_old

    for name, age in (("old", KEPT_SECONDS + 60), ("new", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a_restored.png").write_bytes(b"")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    remove_old(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_what_waits_and_what_is_done_is_kept_while_a_batch_is_restored(model, tmp_path):
    from deepdeblur_tf.restoration.page import remove_old

    iio.imwrite(tmp_path / "a.png", smooth(40, 30))
    upload = Upload(str(tmp_path / "a.png"), 1)
    result = upload.restored(Restorer(load_model(model)), 10**6, "restore", tmp_path / "results")
    for path in (tmp_path / "a.png", result.file.parent):
        os.utime(path, (0, 0))
    upload.keep()
    result.keep()
    remove_old(tmp_path / "results")
    assert result.file.is_file() and time.time() - (tmp_path / "a.png").stat().st_mtime < 60
    shutil.rmtree(tmp_path / "results")
    result.keep()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--port", "99999"], "--port: received 99999; allowed: 1 to 65535"),
        (["--port", "0"], "--port: received 0"),
        (["--host", "1.2.3.4"], "--host: received '1.2.3.4', where this machine cannot listen"),
        (["--host", "no such host"], "--host: received 'no such host'"),
        (["--max_pixels", "0"], "--max_pixels: received 0; allowed: a whole number of 1 or more"),
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
