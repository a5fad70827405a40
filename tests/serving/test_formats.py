from importlib.util import find_spec

import numpy as np
import pytest

from deepdeblur_tf.compat import tf
from deepdeblur_tf.model import build_model
from deepdeblur_tf.restoration.restorer import restore
from deepdeblur_tf.serving.formats import FORMATS, write_quietly
from deepdeblur_tf.serving.signatures import Service


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("pixel_shuffle", 3, True, 1, 1, "gaussian"), marks=pytest.mark.slow),
        pytest.param(("pixel_shuffle", 3, True, 2, 2, "matlab_bicubic", True), marks=pytest.mark.slow),
        pytest.param(("transposed_conv", 2, False, 1, 1, "matlab_bicubic"), marks=pytest.mark.slow),
        ("pixel_shuffle", 1, False, 1, 1, "matlab_bicubic"),
    ],
    ids=lambda param: f"{param[0]}-{param[1]}-{param[3]}",
)
def network(request):
    upsampling, levels, skip, *rest = request.param
    tf.keras.utils.set_random_seed(6)
    model = build_model(upsampling, levels, 2, 8, 3, skip, *rest)
    for weights in model.trainable_variables:  # also those that start at zero
        weights.assign_add(tf.random.stateless_normal(weights.shape, [1, 2], stddev=0.02))
    return model


def skip_without(form):
    missing = [package for package in form.packages if find_spec(package) is None]
    if missing:
        pytest.skip(f"not installed: {missing}")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_restores_images_of_any_size(network, tmp_path, random, name):
    form = FORMATS[name]
    skip_without(form)
    path = tmp_path / form.file
    write_quietly(name, Service(network, 10**6), path)
    run = form.load(path)
    for height, width in [(1, 1), (3, 5), (6, 4), (61, 78), (40, 64)]:
        images = random.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        images[1] = images[1, ..., :1]  # without colours
        expected = np.stack([restore(network, image) for image in images])
        difference = abs(run(images).astype(int) - expected)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.01  # each sums in an order of its own


@pytest.mark.parametrize("runtime", ["openvino", "openvino_bfloat16"])
@pytest.mark.parametrize("options", [{}, {"tile": 48, "overlap": 16}, {"self_ensemble": True}])
def test_openvino_as_a_runtime(network, random, runtime, options):
    pytest.importorskip("openvino")
    image = random.integers(0, 256, (61, 78, 3), dtype=np.uint8)
    difference = abs(
        restore(network, image, runtime=runtime, **options).astype(int) - restore(network, image, **options)
    )
    # 8 bits of bfloat16's significand are as coarse as an image's values, before the errors of all layers add up.
    assert difference.max() <= (1 if runtime == "openvino" else 16)
    assert difference.mean() < (0.01 if runtime == "openvino" else 2)


def test_an_unknown_runtime_is_refused(network):
    with pytest.raises(ValueError, match="runtime must be one of tensorflow, openvino, openvino_bfloat16"):
        restore(network, np.zeros((4, 4, 3), np.uint8), runtime="torch")
