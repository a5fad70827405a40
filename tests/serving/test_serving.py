"""The exported SavedModel, in processes that know nothing of this package, as a server runs it."""

import io
import random as python_random
import re
import shutil
import subprocess
import sys
from concurrent import futures

import imageio.v3 as iio
import numpy as np
import psutil
import pytest
from PIL import ExifTags, Image

from deepdeblur_tf import export, predict
from deepdeblur_tf.compat import tf
from deepdeblur_tf.images.picture_files import read_photo
from deepdeblur_tf.model import build_model
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.restoration.restorer import Restorer, restore
from deepdeblur_tf.serving.signatures import Service
from tests.helpers import ROOT, answering, png, write_network


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    settings = {"blocks": 2, "filters": 8, "kernel_size": 5, "global_skip": False}
    return write_network(tmp_path_factory.mktemp("model") / "small.keras", 4, **settings)


@pytest.fixture(scope="module")
def service(model):
    """What an export holds, before it is saved."""
    return Service(load_model(model), max_pixels=1_000_000)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    assert export.main([str(model), str(folder), "--max_pixels", "1000000"]) == 0
    return folder / "1"


@pytest.fixture(scope="module")
def serve(exported):
    signature = tf.saved_model.load(str(exported)).signatures["serving_default"]
    return lambda *images: signature(image_bytes=tf.constant(list(images)))["restored_bytes"].numpy()


@pytest.fixture
def pictures(frame, tmp_path):
    """Files of every kind and of odd sizes."""
    whole = Image.fromarray(frame)
    folder = tmp_path / "pictures"
    folder.mkdir()

    def cut(width, height):
        return whole.crop((200, 100, 200 + width, 100 + height))

    upright = Image.Exif()
    upright[ExifTags.Base.Orientation] = 6
    transparent = cut(90, 77)
    transparent.putalpha(cut(90, 77).convert("L"))
    cut(333, 217).save(folder / "odd.png")
    cut(1, 1).save(folder / "one.png")
    cut(7, 5).save(folder / "tiny.png")
    cut(101, 99).convert("L").save(folder / "grey.png")
    transparent.save(folder / "transparent.png")
    cut(300, 201).save(folder / "photo.jpg", quality=90)
    cut(201, 144).save(folder / "turned.jpg", exif=upright)
    cut(64, 63).save(folder / "plain.bmp")
    return folder


ALONE = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import tensorflow as tf
model, way, folder, out = sys.argv[1:]
names = sorted(os.listdir(folder))
images = [open(os.path.join(folder, name), "rb").read() for name in names]
if way == "session":  # as TensorFlow Serving does it
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], model).signature_def["serving_default"]
        output, input = signature.outputs["restored_bytes"].name, signature.inputs["image_bytes"].name
        answers = session.run(output, {input: images})
else:
    serve = tf.saved_model.load(model).signatures["serving_default"]
    answers = serve(image_bytes=tf.constant(images))["restored_bytes"].numpy()
for name, answer in zip(names, answers):
    open(os.path.join(out, name), "wb").write(answer)
assert "deepdeblur_tf" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["load", "session"])
def test_a_process_without_this_package_gives_the_pixels_of_predict(exported, model, pictures, tmp_path, way):
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", ALONE, str(exported), way, str(pictures), str(out)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    assert predict.main([str(model), str(pictures), "--output", str(tmp_path / "predicted")]) == 0
    network = load_model(model)
    for path in sorted(pictures.iterdir()):
        served = Image.open(out / path.name)
        assert served.format == "PNG"
        if path.suffix == ".jpg":  # what predict writes is compressed once more
            expected = restore(network, read_photo(path).rgb)
        else:
            expected = np.asarray(Image.open(tmp_path / "predicted" / path.name))
        np.testing.assert_array_equal(np.asarray(served), expected, err_msg=path.name)


def restored_by(service, *images):
    return service.serving_default(tf.constant(images))["restored_bytes"].numpy()


@pytest.mark.slow
def test_every_size_modulo_8(service, model, random):
    network = load_model(model)
    images = [random.integers(0, 256, (8 + i, 23 - i, 3), dtype=np.uint8) for i in range(8)]
    answers = restored_by(service, *map(png, images))
    for image, answer in zip(images, answers):
        np.testing.assert_array_equal(iio.imread(answer), restore(network, image))


@pytest.mark.slow
def test_restore_uint8_restores_a_batch(service, model, random):
    images = random.integers(0, 256, (3, 37, 50, 3), dtype=np.uint8)
    restored = service.restore_uint8(tf.constant(images))["restored"].numpy()
    for image, answer in zip(images, restored):
        np.testing.assert_array_equal(answer, restore(load_model(model), image))
    with pytest.raises(tf.errors.InvalidArgumentError, match="5 images of 500x401 pixels; allowed are 1 to 1000000"):
        service.restore_uint8(tf.zeros((5, 401, 500, 3), tf.uint8))
    for height, width in ((0, 5), (1, 65_536), (1, 250_001)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="allowed are 1 to"):
            service.restore_uint8(tf.zeros((1, height, width, 3), tf.uint8))


@pytest.mark.slow
def test_a_service_makes_no_black_pictures_of_what_is_no_number(random):
    network = build_model(levels=1, blocks=1, filters=4, kernel_size=3)
    for layer in network.layers:
        layer.set_weights([np.full(weight.shape, 3e38) for weight in layer.get_weights()])
    image = random.integers(0, 256, (8, 12, 3), dtype=np.uint8)
    service = Service(network, 1_000_000)
    with pytest.raises(tf.errors.InvalidArgumentError, match="output is no finite number"):
        service.restore_uint8(tf.constant(image[None]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="output is no finite number"):
        service.serving_default(tf.constant([png(image)]))


@pytest.mark.slow
def test_an_error_names_the_image_and_the_next_request_is_answered(service):
    good = png(np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(tf.errors.InvalidArgumentError, match="image 2 of 3 is none of PNG, JPEG, BMP, GIF"):
        restored_by(service, good, b"no picture", good)
    large = png(np.zeros((1000, 1001, 3), np.uint8))
    with pytest.raises(tf.errors.InvalidArgumentError, match="image 1 of 1 has 1001x1000 pixels"):
        restored_by(service, large)
    assert len(restored_by(service, good, good)) == 2


def seeds(picture):
    """Files of every kind, as (kind, bytes)."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, "a camera"
    few = picture.quantize(16)
    for image, kind, options in [
        (picture, "PNG", {"exif": exif}),
        (picture.convert("L"), "PNG", {}),
        (picture.convert("RGBA"), "PNG", {}),
        (few, "PNG", {"transparency": 1}),
        (picture, "JPEG", {"exif": exif}),
        (picture, "JPEG", {"progressive": True}),
        (picture.convert("L"), "JPEG", {}),
        (picture.convert("CMYK"), "JPEG", {}),
        (picture, "BMP", {}),
        (few, "BMP", {}),
        (few, "GIF", {}),
        (few, "GIF", {"save_all": True, "append_images": [picture.rotate(9).quantize(8)] * 3}),
        (picture, "TIFF", {}),
        (picture, "WEBP", {}),
    ]:
        file = io.BytesIO()
        image.save(file, kind, **options)
        yield kind, file.getvalue()


def damaged(random, data):
    """A truncated or mutated copy, or random bytes behind a format's first ones."""
    content, offset = bytearray(data), random.randrange(len(data))
    way = random.choice(["cut", "flip", "header", "remove", "insert", "random"])
    if way == "cut":
        del content[offset:]
    elif way == "flip":
        content[offset] ^= 1 << random.randrange(8)
    elif way == "header":
        for _ in range(random.randrange(1, 8)):
            content[random.randrange(min(64, len(content)))] = random.choice((0, 1, 127, 128, 255))
    elif way == "remove":
        del content[offset : offset + random.randrange(1, 200)]
    elif way == "insert":
        content[offset:offset] = random.randbytes(random.randrange(1, 100))
    else:
        magic = random.choice((b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF89a"))
        content = magic + random.randbytes(random.randrange(2000))
    return bytes(content)


def every_way(network, data):
    """A file's pixels restored in each of the eight ways that EXIF may turn them."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    for turns in range(4):
        for turned in (np.rot90(pixels, turns), np.rot90(pixels, turns)[:, ::-1]):
            yield restore(network, turned)


@pytest.mark.slow
def test_2000_damaged_images_are_answered_or_refused(serve, model, frame, capfd):
    picture = Image.fromarray(frame).resize((96, 54))
    files, random, network = list(seeds(picture)), python_random.Random(0), load_model(model)
    process, answered, refused, before = psutil.Process(), 0, 0, 0
    right = {data: list(every_way(network, data)) for kind, data in files if kind == "PNG"}
    for number in range(2000):
        kind, original = random.choice(files)
        data = damaged(random, original)
        try:
            (answer,) = serve(data)
        except tf.errors.InvalidArgumentError:
            refused += 1
            continue
        finally:
            if number == 200:
                before = process.memory_info().rss
        restored = np.asarray(Image.open(io.BytesIO(answer)))
        answered += 1
        if kind == "PNG" and data[:4] == b"\x89PNG" and restored.ndim == 3:
            # Checksums guard its pixels; what lies beside them, such as the orientation, libpng may pass over.
            assert any(np.array_equal(restored[..., :3], turned) for turned in right[original])
    capfd.readouterr()  # what libjpeg has to say
    assert answered > 200 and refused > 1000
    assert process.memory_info().rss - before < 200e6
    assert len(serve(files[0][1])) == 1


def from_the_page(language, words):
    """The block of docs/serving.md in a language and with these words."""
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S) if words in block]
    return block


@pytest.fixture
def request_folder(tmp_path, monkeypatch, random):
    """The current folder, with the page's blurry.jpg."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(random.integers(0, 256, (30, 50, 3), dtype=np.uint8)).save("blurry.jpg")
    return tmp_path


def assert_restored(folder, model):
    expected = restore(load_model(model), read_photo(folder / "blurry.jpg").rgb)
    np.testing.assert_array_equal(iio.imread(folder / "restored.png"), expected)


@pytest.fixture(scope="module")
def rest_address(exported):
    """Where `serve` answers for the export."""
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        pytest.importorskip(package)
    with answering("serve", exported.parent) as (_, address):
        yield address


@pytest.mark.slow
def test_the_pages_rest_request(rest_address, model, request_folder):
    exec(from_the_page("python", "b64encode").replace("localhost:8501", rest_address), {})
    assert_restored(request_folder, model)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_pages_curl_request(rest_address, model, request_folder):
    command = from_the_page("sh", "curl")
    (request_folder / "restored.png").write_bytes(b"of an earlier request")
    process = subprocess.run(["bash", "-c", command.replace("localhost:8501", "127.0.0.1:1")], capture_output=True)
    assert process.returncode != 0 and b"curl: " in process.stderr and b"Traceback" not in process.stderr
    assert (request_folder / "restored.png").read_bytes() == b"of an earlier request"
    subprocess.run(["bash", "-c", command.replace("localhost:8501", rest_address)], check=True)
    assert_restored(request_folder, model)


@pytest.mark.slow
def test_the_pages_grpc_request(exported, model, request_folder):
    """Against the service of TensorFlow Serving's own protos."""
    grpc = pytest.importorskip("grpc")
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    from tensorflow_serving.apis import predict_pb2

    loaded = tf.saved_model.load(str(exported))

    class Server(apis.PredictionServiceServicer):
        def Predict(self, request, context):
            assert request.model_spec.name == "deepdeblur"
            signature = loaded.signatures[request.model_spec.signature_name or "serving_default"]
            inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
            outputs = {name: tf.make_tensor_proto(tensor) for name, tensor in signature(**inputs).items()}
            return predict_pb2.PredictResponse(outputs=outputs)

    server = grpc.server(futures.ThreadPoolExecutor(1))
    apis.add_PredictionServiceServicer_to_server(Server(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        exec(from_the_page("python", "prediction_service_pb2_grpc").replace("localhost:8500", f"127.0.0.1:{port}"), {})
    finally:
        server.stop(None)
    assert_restored(request_folder, model)


# Scales


def large(scenes):
    """Large enough for two scales, with sides that are no multiples of their factors."""
    return np.pad(scenes[0][0], ((0, 331), (0, 287), (0, 0)), "symmetric")[:331, :347]


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 0.5, 0.25, 0.125])
def test_a_scale_that_is_asked_for_gives_the_pixels_of_predict(service, model, scenes, scale):
    image = large(scenes)
    restored, taken = service._at(tf.constant(image), tf.constant([1, 0.5, 0.25, 0.125].index(scale)))
    np.testing.assert_array_equal(restored, restore(load_model(model), image, scale=scale))


@pytest.mark.slow
def test_requests_may_ask_for_a_scale(service, model, scenes):
    image = large(scenes)
    data = png(image)
    answer = service.restore_at_scale(tf.constant([data, data]), tf.constant([0.25, 0.0]))
    restorer = Restorer(load_model(model))
    expected = restorer(image)
    np.testing.assert_allclose(answer["scale"], [0.25, restorer.scale])
    np.testing.assert_array_equal(iio.imread(answer["restored_bytes"].numpy()[1]), expected)
    np.testing.assert_array_equal(
        iio.imread(answer["restored_bytes"].numpy()[0]), restore(load_model(model), image, scale=0.25)
    )
    for scales, words in (
        ([0.3, 1.0], "scale is 0.3, 1; allowed are 1, 0.5, 0.25, 0.125, or 0"),
        ([1.0], "1 scales for 2"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            service.restore_at_scale(tf.constant([data, data]), tf.constant(scales))


@pytest.mark.slow
def test_a_fixed_scale_is_that_of_both_signatures(model, scenes):
    image = large(scenes)
    fixed = Service(load_model(model), 1_000_000, scale=0.5)
    expected = restore(load_model(model), image, scale=0.5)
    np.testing.assert_array_equal(fixed.restore_uint8(tf.constant(image[None]))["restored"][0], expected)
    (answer,) = restored_by(fixed, png(image))
    np.testing.assert_array_equal(iio.imread(answer), expected)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1, 0.5])
def test_graphs_keep_grey_grey_as_predict_does(model, frame, scale):
    network, colours = load_model(model), frame[:120, :160]
    grey = np.repeat(colours[..., 1:2], 3, axis=2)
    service = Service(network, 10**6, scale)
    restored = service.restore_uint8(tf.constant(np.stack([grey, colours])))["restored"].numpy()
    restorer = Restorer(network, scale=scale)
    for image, result in zip((grey, colours), restored):
        np.testing.assert_array_equal(result, restorer(image))
    assert np.ptp(restored[0], axis=2).max() == 0 < np.ptp(restored[1], axis=2).max()
    if scale == 1:
        unbounded = service.restore_unbounded(tf.constant(grey[None]))["restored"].numpy()
        np.testing.assert_array_equal(unbounded[0], restored[0])


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.parametrize(
    "frame, scale",
    [("gopro_clip/test/GOPR0372_07_00/blur/000124.png", 0.5), ("gopro_clip/test/GOPR0372_07_00/blur/000100.png", 1.0)],
)
def test_a_graph_chooses_the_scale_that_predict_does(shared, frame, scale):
    photographs = load_model("photographs")
    image = iio.imread(shared / frame)
    service = Service(photographs, 10**7)  # kept: its functions hold it weakly
    restored, number = service._at(tf.constant(image), tf.constant(-1))
    restorer = Restorer(photographs)
    np.testing.assert_array_equal(restored, restorer(image))
    assert restorer.scale == scale == [1, 0.5, 0.25, 0.125][int(number)]
