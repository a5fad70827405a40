"""`serve`: what it refuses at once, what it serves, and how it stops."""

import base64
import json
import signal
import socket
import threading
import time
import urllib.error
import urllib.request

import imageio.v3 as iio
import numpy as np
import psutil
import pytest

from deepdeblur_tf import command_line, serve
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.restoration.restorer import restore
from deepdeblur_tf.serving.formats import newest_version
from deepdeblur_tf.serving.servable import of_export
from tests.helpers import answering, png, write_network

for package in ("fastapi", "uvicorn", "prometheus_client"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    settings = {"levels": 1, "blocks": 2, "filters": 32, "kernel_size": 5, "global_skip": False}
    return write_network(tmp_path_factory.mktemp("model") / "small.keras", 2, **settings)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--port", "99999"], "--port: received 99999; allowed: 1 to 65535"),
        (["--host", "1.2.3.4"], "--host: received '1.2.3.4', where this machine cannot listen"),
        (["--max_pixels", "0"], "--max_pixels: received 0; allowed: a whole number of 1 or more"),
        (["--max_upload", "0"], "--max_upload: received 0"),
        (["--max_waiting", "-1"], "--max_waiting: received -1; allowed: a whole number of 0 or more"),
    ],
)
def test_wrong_settings_are_named_at_once(model, capsys, arguments, words):
    assert serve.main([str(model), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_port_in_use_is_named_before_the_network_is_loaded(model, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert serve.main([str(model), "--port", str(port)]) == 2
    assert f"--port: received {port}; allowed: a port that is free" in capsys.readouterr().err


def test_a_port_that_another_server_took_while_the_network_was_loaded_is_named():
    with command_line.bound_socket("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with command_line.bound_socket("127.0.0.1", port) as second:  # neither listens yet
            command_line.listen(first)
            with pytest.raises(UserError, match=f"--port: received {port}; allowed: a port that is free"):
                command_line.listen(second)


def test_what_is_neither_a_network_nor_an_export_is_named(tmp_path, capsys):
    for folder in (tmp_path / "none", tmp_path):
        assert serve.main([str(folder)]) == 2
        assert "Or give a folder that export wrote." in capsys.readouterr().err


def test_the_newest_version_of_an_export_is_served(tmp_path, capsys):
    assert newest_version(tmp_path) is None
    for name in ("2", "10", "text", ".deepdeblur.part", "11"):
        (tmp_path / name).mkdir()
        if name != "11":
            (tmp_path / name / "saved_model.pb").write_bytes(b"damaged")
    assert newest_version(tmp_path) == tmp_path / "10"
    assert newest_version(tmp_path / "2") == tmp_path / "2"
    with pytest.raises(UserError, match="10: cannot be served .*Export the network once more"):
        of_export(tmp_path / "10")
    for flag, value in (("--max_pixels", "5"), ("--scale", "0.5")):
        assert serve.main([str(tmp_path), flag, value]) == 2
        assert f"{flag}: {tmp_path / '10'} was exported with its own. Leave it out" in capsys.readouterr().err


def ask(address, image):
    """(status, answer) for a picture."""
    picture = base64.b64encode(png(image)).decode()
    body = json.dumps({"instances": [{"b64": picture}]}).encode()
    try:
        with urllib.request.urlopen(f"http://{address}/v1/models/deepdeblur:predict", body, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def until_present(address, count):
    for _ in range(1200):
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=120) as answer:
            if f"deepdeblur_requests_present {count}.0" in answer.read().decode():
                return
        time.sleep(0.05)
    raise AssertionError(f"never {count} requests")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_is_computed_and_refuses_what_waits(model, number, random, capfd):
    image = random.integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    answers = {}

    def ask_as(name, address):
        answers[name] = ask(address, image)

    with answering("serve", model) as (process, address):
        threads = []
        for count, name in enumerate(("computed", "waiting"), 1):
            threads.append(threading.Thread(target=ask_as, args=(name, address)))
            threads[-1].start()
            until_present(address, count)
        process.send_signal(number)
        for thread in threads:
            thread.join(120)
        assert process.wait(60) == 0
        assert process.stdout.read() == "stopped\n"
    assert answers["computed"][0] == 200 and "predictions" in answers["computed"][1]
    assert answers["waiting"] == (503, {"error": "the server is being stopped"})
    assert "Traceback" not in capfd.readouterr().err
    with pytest.raises(OSError):
        socket.create_connection(address.split(":"), timeout=5)


@pytest.mark.slow
def test_a_scale_may_be_given(model, random):
    image = random.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    with answering("serve", model, "--scale", "0.5") as (_, address):
        status, answer = ask(address, image)
    assert status == 200
    restored = iio.imread(base64.b64decode(answer["predictions"][0]["b64"]))
    np.testing.assert_array_equal(restored, restore(load_model(model), image, scale=0.5))


@pytest.mark.slow
def test_photographs_are_served_to_this_machine_alone(random, capfd):
    with answering("serve", "photographs", "--max_pixels", "1000") as (process, address):
        assert ask(address, random.integers(0, 256, (20, 30, 3), dtype=np.uint8))[0] == 200
        assert ask(address, np.zeros((40, 30, 3), np.uint8))[0] == 413
        connections = [each for each in psutil.net_connections("inet") if each.pid == process.pid]
        assert {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
        assert not [each for each in connections if each.raddr and each.raddr.ip != "127.0.0.1"]  # nobody is told
        process.terminate()
        assert process.wait(60) == 0
    assert capfd.readouterr().err == ""
