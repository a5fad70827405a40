"""A network's file: read on both stacks, with nothing in it executed and nothing in it believed."""

import inspect
import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from deepdeblur_tf import model
from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import Model, load_experiment
from deepdeblur_tf.model import begin_with, build_model
from deepdeblur_tf.networks.archive import load_model, save_network
from deepdeblur_tf.networks.location import NetworkError, model_file, run_of
from deepdeblur_tf.restoration.restorer import restore
from tests.helpers import FILES, ROOT

# As Keras 2.15 and Keras 3.15 saved them with `network.save`, before there was a deepdeblur_tf.json.
SETTINGS = {
    "pixel_shuffle": {"levels": 2, "blocks": 1, "filters": 2, "kernel_size": 3},
    "transposed_conv": {"levels": 2, "blocks": 1, "filters": 2, "kernel_size": 3, "global_skip": True},
}


def filled(upsampling):
    """The network that the files hold: its arrays are drawn in the order of the layers' names."""
    network, random = build_model(upsampling, **SETTINGS[upsampling]), np.random.default_rng(0)
    for layer in sorted((layer for layer in network.layers if layer.weights), key=lambda layer: layer.name):
        layer.set_weights([random.normal(0, 0.1, weight.shape) for weight in layer.get_weights()])
    return network


@pytest.fixture
def file(tmp_path):
    save_network(filled("pixel_shuffle"), tmp_path / "network.keras")
    return tmp_path / "network.keras"


@pytest.fixture
def image(random):
    return random.integers(0, 256, (20, 16, 3), dtype=np.uint8)


def rewrite(file, compression=zipfile.ZIP_STORED, **entries):
    """Changes entries of a network's file, by the beginnings of their names; None leaves one out."""
    with zipfile.ZipFile(file) as archive:
        old = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in old.items():
            content = entries.get(name.split(".")[0], content)
            if content is not None:
                archive.writestr(name, content)


def rewrite_arrays(file, change):
    """Changes the HDF5 in a network's file: `change` is given its group of layers."""
    with zipfile.ZipFile(file) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content, "r+") as arrays:
        change(arrays["layers"])
    rewrite(file, model=content.getvalue())


def config_of(file):
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read("config.json"))


def settings_text(number=1, **settings):
    return json.dumps({"format": number, "settings": {**SETTINGS["pixel_shuffle"], **settings}})


@pytest.mark.parametrize("upsampling", ["pixel_shuffle", "transposed_conv"])
@pytest.mark.parametrize("keras", [2, 3])
@pytest.mark.parametrize("with_settings", [False, True], ids=["of before", "of today"])
def test_what_either_keras_saved_is_the_same_network(tmp_path, upsampling, keras, with_settings):
    file = tmp_path / "network.keras"
    file.write_bytes((FILES / f"keras{keras}_{upsampling}.keras").read_bytes())
    if with_settings:
        with zipfile.ZipFile(file, "a") as archive:
            settings = {"upsampling": upsampling, **SETTINGS[upsampling]}
            archive.writestr("deepdeblur_tf.json", json.dumps({"format": 1, "settings": settings}))
    network, expected = load_model(file), filled(upsampling)
    assert network.settings == expected.settings == Model(upsampling, **SETTINGS[upsampling])
    for layer in expected.layers:
        for array, expected_array in zip(network.get_layer(layer.name).get_weights(), layer.get_weights()):
            np.testing.assert_array_equal(array, expected_array)


@pytest.mark.slow
@pytest.mark.parametrize("upsampling", ["pixel_shuffle", "transposed_conv"])
def test_saved_and_loaded_from_a_run_and_from_its_file(tmp_path, image, upsampling):
    network = filled(upsampling)
    save_network(network, tmp_path / "model.keras")
    expected = restore(network, image)
    assert np.abs(expected.astype(int) - image).max() > 10
    for name in (tmp_path, str(tmp_path / "model.keras")):
        assert load_model(name).settings == network.settings
        np.testing.assert_array_equal(restore(load_model(name), image), expected)
    # It is Keras's file too.
    read_by_keras = tf.keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(restore(read_by_keras, image), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_a_network_knows_its_settings():
    parameters = inspect.signature(build_model).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == vars(Model())
    unlike = {"upsampling": "transposed_conv", "levels": 2, "blocks": 1, "filters": 4, "kernel_size": 3}
    unlike.update(global_skip=True, shuffle_input=2, widening=2, pyramid="gaussian", pass_features=True, border=6)
    assert unlike.keys() == vars(Model()).keys()
    assert vars(build_model(**unlike).settings) == unlike


@pytest.mark.slow
def test_a_network_grows_without_a_change_of_what_it_restores(image):
    settings = {"filters": 4, "kernel_size": 3, "global_skip": True, "shuffle_input": 2, "widening": 2}
    network, grown = build_model(blocks=1, **settings), build_model(blocks=3, pass_features=True, **settings)
    for weights in network.trainable_variables:
        weights.assign_add(tf.random.stateless_normal(weights.shape, [1, 2], stddev=0.05))
    begin_with(grown, network)
    np.testing.assert_array_equal(restore(grown, image), restore(network, image))
    # What was added begins as zeros alone where it has to, so that all of it learns.
    assert grown.get_layer("level2_block3_conv1").get_weights()[0].any()
    assert not grown.get_layer("level2_block3_conv2").get_weights()[0].any()
    assert not grown.get_layer("level1_features").get_weights()[0].any()
    with pytest.raises(ValueError, match="lacks the layers level3_block2_conv1, "):
        begin_with(network, grown)


def test_its_settings_are_no_part_of_a_checkpoint(tmp_path):
    path = tf.train.Checkpoint(network=build_model(blocks=1, filters=2)).write(str(tmp_path / "step"))
    assert not any("settings" in name for name, _ in tf.train.list_variables(path))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_a_network_of_another_precision_has_the_same_arrays(tmp_path, policy):
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        network = build_model(blocks=1, filters=4)
        save_network(network, tmp_path / "network.keras")
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    loaded = load_model(tmp_path / "network.keras")
    assert loaded.get_layer("level1_head").compute_dtype == "float32"
    for array, expected in zip(loaded.get_weights(), network.get_weights()):
        np.testing.assert_array_equal(array, expected)


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ends in .keras. Received: path='.*network.h5'"):
        save_network(build_model(blocks=1, filters=2), tmp_path / "network.h5")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(NetworkError, match="model.keras: no such file"):
        load_model(tmp_path)
    with pytest.raises(NetworkError, match="nowhere: no such run"):
        load_model(tmp_path / "nowhere")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.keras").write_bytes(b"")
    with pytest.raises(NetworkError, match="not finished; its best network so far is .*best.keras"):
        load_model(tmp_path)
    with pytest.raises(NetworkError, match="best.keras: is not a network"):
        load_model(tmp_path / "checkpoints" / "best.keras")


def test_the_network_that_comes_with_the_package_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photographs").mkdir()  # of photos, say
    network = load_model("photographs")
    for recipe in ("photographs", "fine_tune"):
        assert network.settings == load_experiment(ROOT / "experiments" / f"{recipe}.yaml").model
    assert model_file("photographs").with_suffix(".md").is_file()
    assert run_of("photographs") is None
    with pytest.raises(NetworkError, match="no such file"):
        load_model("./photographs")


# Files of others.


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_in_a_file_is_not_run(tmp_path, suffix):
    trace = str(tmp_path / "it_ran")
    inputs = tf.keras.Input((None, None, 3))
    outputs = tf.keras.layers.Lambda(lambda x: (open(trace, "w").close(), x)[1])(inputs)
    tf.keras.Model(inputs, outputs).save(tmp_path / f"evil{suffix}")
    (tmp_path / f"evil{suffix}").rename(tmp_path / "evil.keras")
    Path(trace).unlink()
    with pytest.raises(NetworkError, match="evil.keras: is not a network"):
        load_model(tmp_path / "evil.keras")
    assert not Path(trace).exists()


@pytest.mark.parametrize("module, name", [("os", "system"), ("keras.layers", "Lambda")])
def test_what_a_file_names_is_not_looked_up(file, module, name):
    config = config_of(file)
    addition = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Add")
    addition["class_name"], addition["module"] = name, module
    rewrite(file, config=json.dumps(config))
    with pytest.raises(NetworkError, match=rf"here\): level2_block1_add: class {name} / Add"):
        load_model(file)


def test_another_keras_network_is_refused(tmp_path):
    inputs = tf.keras.Input((None, None, 3))
    tf.keras.Model(inputs, tf.keras.layers.Conv2D(3, 3)(inputs)).save(tmp_path / "other.keras")
    with pytest.raises(NetworkError, match="other.keras: is not a network .*it holds another network"):
        load_model(tmp_path / "other.keras")


# Files of before, and layers that were edited since.


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda conv, add: conv["config"].update(activation="gelu"), "level1_block1_conv1: activation gelu / relu"),
        (lambda conv, add: conv["config"].update(dilation_rate=[2, 2]), "conv1: dilation_rate 2, 2 / 1, 1"),
        (lambda conv, add: conv.update(inbound_nodes=[[["blurry_1", 0, 0, {}]]]), "inputs blurry_1 / level1_head"),
        (lambda conv, add: add["config"].update(name="level1_norm"), "the layer level1_block1_add is here only"),
    ],
)
@pytest.mark.parametrize("keras", [2, 3])
def test_a_network_whose_layers_are_others_now_is_refused_with_what_differs(tmp_path, keras, change, words):
    file = tmp_path / "network.keras"
    file.write_bytes((FILES / f"keras{keras}_pixel_shuffle.keras").read_bytes())
    config = config_of(file)
    # As if the file were of today, and `build_model` edited since.
    layers = {layer["config"]["name"]: layer for layer in config["config"]["layers"]}
    change(layers["level1_block1_conv1"], layers["level1_block1_add"])
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("deepdeblur_tf.json", settings_text(upsampling="pixel_shuffle"))
    rewrite(file, config=json.dumps(config))
    with pytest.raises(NetworkError, match=f"(?s){words}"):
        load_model(file)


def test_an_edited_layer_refuses_the_networks_of_before(file, monkeypatch):
    convolution = model.layers.Conv2D

    def edited(*sizes, activation=None, **how):
        return convolution(*sizes, activation=activation and "gelu", **how)

    monkeypatch.setattr(model.layers, "Conv2D", edited)
    words = "is not a network .*What differs .*level1_block1_conv1: activation relu / gelu"
    with pytest.raises(NetworkError, match=words):
        load_model(file)
    with pytest.raises(NetworkError, match="activation relu / gelu"):
        load_model("photographs")


@pytest.mark.parametrize("text", [settings_text(number=2), settings_text(attention=True)])
def test_a_file_of_a_later_version_says_so(file, text):
    rewrite(file, deepdeblur_tf=text)
    with pytest.raises(NetworkError, match="network.keras: is not a network .*made by a later version"):
        load_model(file)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"levels": 4}, "levels: received 4; allowed: one of 1, 2, 3"),
        ({"kernel_size": 2}, "kernel_size: received 2; allowed: an odd number"),
        ({"levels": 1.0}, "its levels is 1.0"),
        ({"levels": 1}, r"level1_head/kernel .* level1_up/kernel is not the network's; and 8 more"),
        ({"upsampling": "bilinear"}, "upsampling: received 'bilinear'"),
        ({"upsampling": "transposed_conv"}, r"level1_up/kernel has the shape \(5, 5, 3, 12\) and not \(3, 3, 3, 3\)"),
        ({"global_skip": "no"}, "its global_skip is 'no'"),
        ({"blocks": 10**9}, "blocks: received 1000000000; allowed: a whole number from 1 to 100"),
        ({"filters": 10**9}, "filters: received 1000000000; allowed: a whole number above 0, up to 10000"),
        ({"kernel_size": 10**9 + 1}, "kernel_size: received 1000000001; allowed: an odd number from 1 to 99"),
        ({"filters": 10**4, "kernel_size": 99}, "it holds 0 of the 4 kernels"),
    ],
)
def test_settings_that_do_not_fit_the_arrays_are_refused_and_nothing_is_built(file, settings, words):
    rewrite(file, deepdeblur_tf=settings_text(**settings))
    with pytest.raises(NetworkError, match=words):
        load_model(file)


def replace_with(make):
    def change(layers):
        del layers["conv2d/vars/0"]
        make(layers["conv2d/vars"])

    return change


def link_out(group):
    group["0"] = h5py.ExternalLink("/etc/passwd", "/layers/conv2d/vars/0")


def lie_outside(group):
    group.create_dataset("0", (3, 3, 3, 2), "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def show_another(group):
    layout = h5py.VirtualLayout((3, 3, 3, 2), "f4")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", (3, 3, 3, 2))
    group.create_virtual_dataset("0", layout)


@pytest.mark.parametrize(
    "change, words",
    [
        (replace_with(lambda group: None), "level2_head/kernel is missing"),
        (replace_with(link_out), "0 is missing or a link"),
        (replace_with(lambda group: group.__setitem__("0", h5py.SoftLink("/layers/conv2d_1/vars/0"))), "or a link"),
        (replace_with(lie_outside), "no plain array"),
        (replace_with(show_another), "no plain array"),
        (
            replace_with(lambda group: group.create_dataset("0", (3, 3, 3, 2), "f4", compression="gzip")),
            "no plain array",
        ),
        (replace_with(lambda group: group.create_dataset("0", (3, 3, 3, 2), "i4")), "no plain array"),
        (replace_with(lambda group: group.create_dataset("0", (3, 3, 3, 2), h5py.string_dtype())), "no plain array"),
        (replace_with(lambda group: group.create_dataset("0", (10**6, 10**6), "f4")), "claims to be larger"),
        (replace_with(lambda group: group.create_dataset("0", (3, 3, 2, 3), "f4")), r"\(3, 3, 2, 3\) and not"),
        (lambda layers: layers["conv2d/vars"].create_dataset("2", (2,), "f4"), "conv2d/vars/2 is not the network's"),
        (lambda layers: layers.create_dataset("x", (2,), "f4"), "is not a network"),
    ],
)
def test_arrays_that_are_not_the_networks_are_refused(file, change, words):
    rewrite_arrays(file, change)
    with pytest.raises(NetworkError, match=words):
        load_model(file)


def test_what_unpacks_to_more_than_its_file_is_refused(file):
    rewrite(file, config=b" " * 5_000_000)
    with pytest.raises(NetworkError, match="its config.json is too large"):
        load_model(file)
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        rewrite(file, compression)
        with pytest.raises(NetworkError, match="is compressed"):
            load_model(file)


def load_damaged(path, content):
    """Loads a damaged file: whole, or refused by its name."""
    path.write_bytes(content)
    try:
        return load_model(path)
    except NetworkError as error:
        assert str(path) in str(error)


def test_a_file_that_is_cut_off_is_refused_by_name(tmp_path, file):
    content = file.read_bytes()
    for length in range(0, len(content), 997):
        assert load_damaged(tmp_path / "damaged.keras", content[:length]) is None


def flipped(content, random, bits):
    content = bytearray(content)
    for offset in random.integers(0, len(content), bits):
        content[offset] ^= 1 << random.integers(0, 8)
    return bytes(content)


@pytest.mark.parametrize("keras", [2, 3])
def test_files_with_flipped_bits_are_refused_by_name(tmp_path, random, keras):
    content = (FILES / f"keras{keras}_pixel_shuffle.keras").read_bytes()
    for _ in range(300):
        load_damaged(tmp_path / "damaged.keras", flipped(content, random, 20))


@pytest.mark.slow
@pytest.mark.parametrize("keras", [2, 3])
@pytest.mark.parametrize("entry", ["config", "model"])
def test_flipped_bits_that_the_archives_checksums_do_not_show_are_refused_by_name(tmp_path, random, keras, entry):
    good, path = (FILES / f"keras{keras}_transposed_conv.keras").read_bytes(), tmp_path / "damaged.keras"
    name = {"config": "config.json", "model": "model.weights.h5"}[entry]
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        content = archive.read(name)
    for _ in range(200):
        path.write_bytes(good)
        rewrite(path, **{entry: flipped(content, random, 20)})
        load_damaged(path, path.read_bytes())
