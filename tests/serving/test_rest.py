"""The server's answers and refusals, on a real port of this process."""

import base64
import contextlib
import functools
import http.client
import json
import socket
import threading
import time

import imageio.v3 as iio
import numpy as np
import pytest

from deepdeblur_tf.compat import tf
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.restoration.restorer import restore
from deepdeblur_tf.serving.servable import Servable, of_network
from tests.helpers import png, write_network

pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from deepdeblur_tf.serving import rest  # noqa: E402

MAX_PIXELS, MAX_BODY = 4000, 200_000
PREDICT = "/v1/models/deepdeblur:predict"


@contextlib.contextmanager
def serving(servable, max_waiting=4, max_body=MAX_BODY):
    """The port that a servable is served on."""
    server = rest.server_of(rest.build_app(servable, "deepdeblur", max_body, max_waiting))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(60)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("model") / "small.keras", 5, levels=1, global_skip=False)


@pytest.fixture(scope="module")
def servable(network):
    return of_network(network, MAX_PIXELS)


@pytest.fixture(scope="module")
def port(servable):
    with serving(servable) as port:
        yield port


def ask(port, path, content=None, method=None, **headers):
    """(status, the JSON of the answer) for a request; content that is no bytes is sent as JSON."""
    body = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method or ("GET" if body is None else "POST"), path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status, json.loads(text)


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def pixels(value):
    return iio.imread(base64.b64decode(value["b64"]))


@pytest.fixture
def images(random):
    return [random.integers(0, 256, (height, 30, 3), dtype=np.uint8) for height in (20, 33)]


@pytest.fixture
def expected(network, images):
    return [restore(load_model(network), image) for image in images]


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/deepdeblur/versions/1:predict"])
@pytest.mark.parametrize("is_named", [True, False])
def test_pictures_are_restored_in_rows_and_in_columns(port, images, expected, path, is_named):
    data = [b64(png(image)) for image in images]
    status, answer = ask(port, path, {"instances": [{"image_bytes": each} if is_named else each for each in data]})
    assert status == 200 and list(answer) == ["predictions"]
    for value, image in zip(answer["predictions"], expected):
        np.testing.assert_array_equal(pixels(value), image)
    status, answer = ask(port, path, {"inputs": {"image_bytes": data} if is_named else data})
    assert status == 200 and list(answer) == ["outputs"]
    for value, image in zip(answer["outputs"], expected):
        np.testing.assert_array_equal(pixels(value), image)


@pytest.mark.parametrize("kind, given", [("predictions", "instances"), ("outputs", "inputs")])
def test_pixels_are_restored_by_the_other_signature(port, images, expected, kind, given):
    status, answer = ask(port, PREDICT, {"signature_name": "restore_uint8", given: [images[0].tolist()]})
    assert status == 200
    np.testing.assert_array_equal(answer[kind], expected[:1])


def test_a_request_may_ask_for_a_scale(port, images, expected):
    row = {"image_bytes": b64(png(images[0])), "scale": 0}
    status, answer = ask(port, PREDICT, {"signature_name": "restore_at_scale", "instances": [row]})
    assert status == 200 and answer["predictions"][0]["scale"] == 1
    np.testing.assert_array_equal(pixels(answer["predictions"][0]["restored_bytes"]), expected[0])
    row["scale"] = 0.3
    status, answer = ask(port, PREDICT, {"signature_name": "restore_at_scale", "instances": [row]})
    assert status == 400 and "scale is 0.3; allowed are 1, 0.5, 0.25, 0.125, or 0" in answer["error"]


def test_status_and_metadata_are_those_of_tensorflow_serving(port):
    json_format = pytest.importorskip("google.protobuf.json_format")
    metadata_pb2 = pytest.importorskip("tensorflow_serving.apis.get_model_metadata_pb2")
    from tensorflow_serving.apis import get_model_status_pb2, model_pb2

    for model in ("/v1/models/deepdeblur", "/v1/models/deepdeblur/versions/1"):
        status, answer = ask(port, model)
        (version,) = json_format.ParseDict(answer, get_model_status_pb2.GetModelStatusResponse()).model_version_status
        assert (status, version.version, version.state) == (200, 1, version.AVAILABLE)
        status, answer = ask(port, f"{model}/metadata")
        assert json_format.ParseDict(answer["model_spec"], model_pb2.ModelSpec()).version.value == 1
        signatures = answer["metadata"]["signature_def"]
        parsed = json_format.ParseDict(signatures, metadata_pb2.SignatureDefMap()).signature_def
        assert set(parsed) == {"serving_default", "restore_uint8", "restore_at_scale"}
        assert [dim.size for dim in parsed["restore_uint8"].outputs["restored"].tensor_shape.dim] == [-1, -1, -1, 3]
        image = parsed["restore_uint8"].inputs["image"]
        assert (image.dtype, [dim.size for dim in image.tensor_shape.dim]) == (tf.uint8, [-1, -1, -1, 3])
        assert parsed["serving_default"].outputs["restored_bytes"].dtype == tf.string


GOOD = b64(png(np.zeros((9, 9, 3), np.uint8)))
ROW = [[[[0, 0, 0]]]]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"no JSON", "the body is no JSON"),
        (b"[" * 100_000, "the body is no JSON"),
        (b"\xff\xfe", "the body is no JSON"),
        ([], 'a JSON object with either "instances"'),
        ({}, 'a JSON object with either "instances"'),
        ({"instances": [GOOD], "inputs": [GOOD]}, "either"),
        ({"instances": []}, "instances: allowed is a list of one or more"),
        ({"instances": GOOD}, "instances: allowed is a list"),
        ({"instances": [{"image": GOOD}]}, 'instances[0]: received ["image"]; allowed: image_bytes'),
        ({"instances": [{"image_bytes": GOOD, "more": 1}]}, "instances[0]: received"),
        ({"inputs": {"image": [GOOD]}}, 'inputs: received ["image"]; allowed: image_bytes'),
        ({"inputs": GOOD}, "of shape [any] (its shape is [])"),
        ({"instances": [[GOOD]]}, "of shape [any] (its shape is [1, 1])"),
        ({"inputs": [["a"], ["b", "c"]]}, "of shape [any] (its lists are of different lengths)"),
        ({"instances": [1]}, "image_bytes: allowed are strings"),
        ({"instances": [None]}, "(received null)"),
        ({"instances": [{"b64": "é"}]}, "image_bytes: allowed are strings"),
        ({"instances": [{"b64": "abc"}]}, "image_bytes: allowed are strings"),
        ({"instances": [{"b64": 5}]}, "image_bytes: allowed are strings"),
        ({"instances": [GOOD], "signature_name": "other"}, "'other'; allowed: serving_default, restore_uint8"),
        ({"instances": [GOOD], "signature_name": 5}, "signature_name: allowed is a string"),
        ({"instances": [GOOD, b64(b"text")]}, "image 2 of 2 is none of PNG, JPEG, BMP, GIF"),
        ({"instances": ["text", GOOD]}, "image 1 of 2 is none of"),
        ({"instances": [b64(png(np.zeros((9, 9, 3), np.uint8))[:60])]}, "PNG"),
        ({"instances": [b64(b"BM" + bytes(80))]}, "has 0x0 pixels"),
        ({"signature_name": "restore_uint8", "instances": [[[[0, 0, 256]]]]}, "uint8 of shape [any, any, any, 3]"),
        ({"signature_name": "restore_uint8", "instances": [[[[0, 0, -1]]]]}, "not all of it are 0 to 255"),
        ({"signature_name": "restore_uint8", "instances": [[[[0, 0, 10**30]]]]}, "not all of it are such numbers"),
        ({"signature_name": "restore_uint8", "instances": [[[[0, 0, 0.5]]]]}, "not all of it are such numbers"),
        ({"signature_name": "restore_uint8", "instances": [[[[0, 0]]]]}, "its shape is [1, 1, 1, 2]"),
        ({"signature_name": "restore_uint8", "instances": [ROW[0], [[0]]]}, "image: allowed are uint8"),
        ({"signature_name": "restore_uint8", "inputs": "text"}, "image: allowed are uint8"),
    ],
)
def test_a_bad_request_is_400_and_told_why(port, content, words):
    status, answer = ask(port, PREDICT, content)
    assert status == 400 and list(answer) == ["error"]
    assert words in answer["error"] and "/" not in answer["error"] and "node" not in answer["error"]


@pytest.mark.parametrize(
    "path, method, status",
    [
        ("/", "GET", 404),
        ("/docs", "GET", 404),
        ("/openapi.json", "GET", 404),
        ("/v1/models/other", "GET", 404),
        ("/v1/models/deepdeblur/versions/2", "GET", 404),
        ("/v1/models/deepdeblur/versions/2/metadata", "GET", 404),
        ("/v1/models/other:predict", "POST", 404),
        ("/v1/models/deepdeblur/versions/x:predict", "POST", 404),
        ("/v1/models/deepdeblur:classify", "POST", 405),
        ("/v1/models/deepdeblur", "DELETE", 405),
    ],
)
def test_what_is_not_there_is_told_in_json(port, path, method, status):
    got, answer = ask(port, path, b"{}" if method == "POST" else None, method)
    assert got == status and list(answer) == ["error"]


def test_too_many_pixels_are_413(port):
    large = np.zeros((80, 51, 3), np.uint8)
    status, answer = ask(port, PREDICT, {"instances": [GOOD, b64(png(large))]})
    assert status == 413 and "image 2 of 2 has 51x80 pixels; allowed are 1 to 4000" in answer["error"]
    status, answer = ask(port, PREDICT, {"signature_name": "restore_uint8", "instances": [large.tolist()]})
    assert status == 413 and "1 images of 51x80 pixels" in answer["error"]


def test_too_many_bytes_are_413_before_they_are_kept(port):
    body = b" " * (20 * MAX_BODY)
    status, answer = ask(port, PREDICT, body)
    assert status == 413 and "larger than 200000 bytes" in answer["error"]
    # In pieces, of which nobody says how many come.
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", PREDICT, iter([body[:MAX_BODY]] * 20), encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    # A client that asks first need not send it.
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 413 ")
    status, _ = ask(port, PREDICT, {"instances": [GOOD]})
    assert status == 200


class Waiting:
    """A servable that waits until it is told to go on."""

    def __init__(self):
        self.go_on, self.calls = threading.Event(), 0

        def wait(data):
            self.calls += 1
            assert self.go_on.wait(60)
            return data

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def answer(image_bytes):
            return {"restored_bytes": tf.ensure_shape(tf.numpy_function(wait, [image_bytes], tf.string), [None])}

        self.servable = Servable(7, {"serving_default": answer.get_concrete_function()}, answer)


def metric(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#").get(name, "0.0")


def until(port, name, value):
    for _ in range(600):
        if metric(port, name) == value:
            return
        time.sleep(0.05)
    raise AssertionError(f"{name} is {metric(port, name)}, not {value}")


def test_a_busy_server_refuses_answers_in_turn_and_computes_nothing_for_who_has_left():
    waiting, statuses = Waiting(), []
    with serving(waiting.servable, max_waiting=2) as port:
        body = json.dumps({"instances": ["a"]}).encode()
        threads = [threading.Thread(target=lambda: statuses.append(ask(port, PREDICT, body))) for _ in range(2)]
        try:
            threads[0].start()
            until(port, "deepdeblur_requests_present", "1.0")
            threads[1].start()
            with socket.create_connection(("127.0.0.1", port)) as leaving:
                head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
                leaving.sendall(head.encode() + body)
                until(port, "deepdeblur_requests_present", "3.0")
                status, answer = ask(port, PREDICT, body)
                assert status == 503 and answer["error"].startswith("busy: 2 requests are waiting")
                assert ask(port, "/v1/models/deepdeblur")[0] == 200
        finally:
            waiting.go_on.set()
        for thread in threads:
            thread.join(60)
        assert statuses == [(200, {"predictions": [b64(b"a")]})] * 2
        until(port, "deepdeblur_requests_present", "0.0")
        assert waiting.calls == 2
        assert metric(port, 'deepdeblur_requests_total{status="503"}') == "1.0"
        assert metric(port, 'deepdeblur_requests_total{status="200"}') == "2.0"


@pytest.mark.slow
def test_who_sends_slowly_keeps_nobody_out_and_is_let_go(servable, random, monkeypatch):
    monkeypatch.setattr(rest, "SILENT_SECONDS", 2)
    picture = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    heads = [
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{",  # a body that does not go on
        f"POST {PREDICT} HTTP/1.1\r\nHost: ",  # a head that does not end
        "",
        "GET /v1/models/deepdeblur HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/",  # a second one on the same connection
    ]
    with serving(servable, max_waiting=1) as port, contextlib.ExitStack() as open_ones:
        slow = [open_ones.enter_context(socket.create_connection(("127.0.0.1", port), 60)) for _ in range(12)]
        for number, connection in enumerate(slow):
            connection.sendall(heads[number % 4].encode())
        assert ask(port, PREDICT, {"instances": [b64(png(picture))]})[0] == 200
        answers = [b"".join(iter(functools.partial(connection.recv, 1 << 16), b"")) for connection in slow]
        assert [answer[9:12] for answer in answers] == [b"408", b"", b"", b"200"] * 3
        assert b"or nothing of it for 2" in answers[0]
        assert metric(port, 'deepdeblur_requests_total{status="408"}') == "3.0"


def test_what_arrives_together_has_a_bound(servable, random):
    picture = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    body = json.dumps({"instances": [b64(png(picture))]}).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with serving(servable, max_body=len(body), max_waiting=0) as port:
        with socket.create_connection(("127.0.0.1", port), 60) as first:
            first.sendall(head + body[:-1])
            for _ in range(600):
                status, answer = ask(port, PREDICT, body)
                if status != 200:
                    break
                time.sleep(0.05)
            assert status == 503 and answer["error"] == "busy: other requests are arriving. Try again later"
            first.sendall(body[-1:])
            assert first.recv(12) == b"HTTP/1.1 200"
        assert ask(port, PREDICT, body)[0] == 200


def test_a_defect_is_500_and_shows_strangers_nothing():
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def answer(image_bytes):
        return {"restored_bytes": tf.numpy_function(lambda data: 1 // 0, [image_bytes], tf.string)}

    with serving(Servable(1, {"serving_default": answer.get_concrete_function()}, answer)) as port:
        assert ask(port, PREDICT, {"instances": ["a"]}) == (
            500,
            {"error": "the server failed; its terminal says why"},
        )


def test_a_full_memory_is_503_in_oneDNNs_words_too(monkeypatch):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def answer(image_bytes):
        return {"restored_bytes": image_bytes}

    def abort(*_):
        raise tf.errors.AbortedError(None, None, "Operation received an exception:Status: 1, message: could not create")

    monkeypatch.setattr(rest, "answer_of", abort)
    with serving(Servable(1, {"serving_default": answer.get_concrete_function()}, answer)) as port:
        status, said = ask(port, PREDICT, {"instances": ["a"]})
    assert status == 503 and said["error"].startswith("the memory is full. Try again later")


@pytest.mark.slow
def test_answers_that_nobody_reads_have_a_bound_and_are_dropped(monkeypatch):
    monkeypatch.setattr(rest, "BODY_SECONDS", 2)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def answer(image_bytes):  # more than the system's own buffers hold
        return {"restored_bytes": tf.strings.join([image_bytes, "a" * 20_000_000])}

    body = json.dumps({"instances": ["a"]}).encode()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    servable = Servable(1, {"serving_default": answer.get_concrete_function()}, answer)
    with serving(servable, max_body=len(body)) as port, socket.create_connection(("127.0.0.1", port), 60) as client:
        client.sendall(head + body)
        until(port, 'deepdeblur_requests_total{status="200"}', "1.0")
        status, refusal = ask(port, PREDICT, body)
        assert (status, refusal["error"]) == (503, "busy: answers wait to be read. Try again later")
        for _ in range(600):
            if ask(port, PREDICT, body)[0] == 200:
                break
            time.sleep(0.05)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(1 << 20):
                received += len(part)
        assert received < 20_000_000
        assert ask(port, PREDICT, body)[0] == 200
