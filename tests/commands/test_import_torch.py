"""DeepDeblur-PyTorch's checkpoints: the networks they hold, and nothing of theirs run."""

import pickle
import shutil
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest

from deepdeblur_tf.config import Model
from deepdeblur_tf.import_torch import main
from deepdeblur_tf.model import build_model
from deepdeblur_tf.networks.archive import load_model, save_network
from deepdeblur_tf.networks.torch_checkpoint import CheckpointError, read_checkpoint, write_checkpoint
from deepdeblur_tf.networks.torch_networks import read_torch_network, write_torch_network
from deepdeblur_tf.restoration.restorer import Restorer
from deepdeblur_tf.serving.formats import FORMATS, write_quietly
from deepdeblur_tf.serving.signatures import Service
from tests.helpers import FILES

# As PyTorch 2.13 saved `torch_network(2, 1, 4, 3)` after `torch.manual_seed(0)`, with a discriminator of a convolution
# and a batch normalisation: by `torch.save`, and in the format before 1.6. outputs.npz holds what it made of an image.
NOW, BEFORE = FILES / "torch" / "network.pt", FILES / "torch" / "network_before_1.6.pt"
HEAD, UP = "body_models.0.body.0.weight", "conv_end_models.1.uppath.0.weight"
SETTINGS = {"levels": 2, "blocks": 1, "filters": 4, "kernel_size": 3, "pyramid": "gaussian"}


def torch_network(levels, blocks, features, kernel):
    """The network in PyTorch, with the names that the authors' checkpoints have; values 0 to 255."""
    torch = pytest.importorskip("torch", reason="no PyTorch here; `pip install torch` adds these tests")
    from torch import nn

    def convolution(inputs, outputs, side=kernel):
        return nn.Conv2d(inputs, outputs, side, padding=side // 2)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(convolution(features, features), nn.ReLU(), convolution(features, features))

        def forward(self, x):
            return x + self.body(x)

    class Named(nn.Module):
        def __init__(self, name, *layers):
            super().__init__()
            self.name = name
            self.add_module(name, nn.Sequential(*layers))

        def forward(self, x):
            return getattr(self, self.name)(x)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            heads = [convolution(3 if level == levels - 1 else 6, features) for level in range(levels)]
            self.body_models = nn.ModuleList(
                Named("body", head, *(Block() for _ in range(blocks)), convolution(features, 3)) for head in heads
            )
            ups = (Named("uppath", convolution(3, 12, 5), nn.PixelShuffle(2)) for _ in range(1, levels))
            self.conv_end_models = nn.ModuleList([None, *ups])

        def forward(self, blurry):
            restored = []
            for level in range(levels - 1, -1, -1):
                x = blurry[level] - 127.5
                if restored:
                    x = torch.cat([x, self.conv_end_models[level + 1](restored[0])], 1)
                restored.insert(0, self.body_models[level](x))
            return [level + 127.5 for level in restored]

    return Network()


def run_in_torch(network, image):
    """Every level, [H', W', 3] in 0 to 255, with scikit-image's pyramid of the image continued by its edge."""
    import torch
    from skimage.transform import pyramid_gaussian

    levels = len(network.body_models)
    sides = [(0, -side % 2 ** (levels - 1)) for side in image.shape[:2]]
    padded = np.pad(image, [*sides, (0, 0)], "edge").astype(np.float32)
    made = list(pyramid_gaussian(padded, levels - 1, channel_axis=-1))
    with torch.no_grad():
        restored = network([torch.from_numpy(level.transpose(2, 0, 1)[None].copy()) for level in made])
    return [level[0].numpy().transpose(1, 2, 0) for level in restored]


def assert_restores(restored, expected):
    """Levels in [-0.5, 0.5] against 0 to 255, unclipped."""
    assert len(restored) == len(expected)
    for level, expected_level in zip(restored, expected):
        np.testing.assert_allclose(255 * np.asarray(level, np.float64) + 127.5, expected_level, rtol=0, atol=1e-3)


@pytest.fixture(scope="module")
def golden():
    with np.load(FILES / "torch" / "outputs.npz") as file:
        return file["image"], [file["output_0"], file["output_1"]]


@pytest.fixture
def tensors():
    return read(NOW)


@pytest.mark.parametrize("file", [NOW, BEFORE], ids=lambda file: file.stem)
def test_what_pytorch_saved_restores_as_it_did_there(golden, file):
    image, expected = golden
    network, has_discriminator = read_torch_network(file)
    assert has_discriminator and network.settings == Model(**SETTINGS)
    assert_restores(Restorer(network).levels(image), expected)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["random_2_8_3", "random_3_16_5"])
def test_the_authors_code_made_the_same_of_a_photo(shared, tmp_path, name):
    blocks, filters, kernel_size = map(int, name.split("_")[1:])
    assert main([str(shared / "deepdeblur_pytorch" / f"{name}.pt"), str(tmp_path / "network.keras")]) == 0
    network = load_model(tmp_path / "network.keras")
    assert network.settings == Model("pixel_shuffle", 3, blocks, filters, kernel_size, pyramid="gaussian")
    with np.load(shared / "deepdeblur_pytorch" / f"{name}.npz") as file:
        assert_restores(Restorer(network).levels(file["image"]), [file[f"output_{level}"] for level in range(3)])


def test_a_network_goes_there_and_back(tmp_path, random):
    network = build_model(**{**SETTINGS, "levels": 3})
    network.set_weights([random.normal(0, 0.2, weight.shape) for weight in network.get_weights()])
    write_torch_network(network, tmp_path / "network.pt")
    back, has_discriminator = read_torch_network(tmp_path / "network.pt")
    assert back.settings == network.settings and not has_discriminator
    for weight, expected in zip(back.get_weights(), network.get_weights()):
        np.testing.assert_allclose(weight, expected, rtol=3e-7)


@pytest.mark.slow
@pytest.mark.parametrize("levels, blocks, features, kernel", [(3, 19, 64, 5), (1, 2, 8, 3)])
def test_pytorch_and_this_package_restore_the_same_there_and_back(tmp_path, frame, levels, blocks, features, kernel):
    image = frame[:61, :90]
    there = torch_network(levels, blocks, features, kernel)
    import torch

    torch.save({"G": there.state_dict()}, tmp_path / "theirs.pt")
    network, _ = read_torch_network(tmp_path / "theirs.pt")
    if blocks == 19:
        assert network.count_params() == 11_721_321
    expected = run_in_torch(there, image)
    assert np.ptp(expected[0]) > 10
    assert_restores(Restorer(network).levels(image), expected)

    network = build_model(**vars(network.settings))
    network.set_weights([0.5 * weight for weight in network.get_weights()])  # or many blocks of them grow the values
    write_torch_network(network, tmp_path / "ours.pt")
    there.load_state_dict(torch.load(tmp_path / "ours.pt", weights_only=True)["G"])  # strict: every name, none else
    assert_restores(Restorer(network).levels(image), run_in_torch(there, image))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["saved_model", "openvino"])
def test_exported_they_restore_the_same(tmp_path, golden, name):
    for package in FORMATS[name].packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    network, _ = read_torch_network(NOW)
    path = tmp_path / FORMATS[name].file
    write_quietly(name, Service(network, max_pixels=10_000), path)
    image, (expected, _) = golden
    restored = FORMATS[name].load(path)(image[None])[0]
    rounded = np.clip(expected[: image.shape[0], : image.shape[1]], 0, 255)
    assert np.abs(restored - rounded).max() < 0.501


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"upsampling": "transposed_conv"}, "no network with model.upsampling transposed_conv"),
        ({"global_skip": True}, "no network with model.global_skip True"),
        ({"shuffle_input": 2}, "no network with model.shuffle_input 2"),
        ({"widening": 2}, "no network with model.widening 2"),
    ],
)
def test_what_cannot_run_there_is_refused_by_name(tmp_path, settings, words):
    with pytest.raises(ValueError, match=words):
        write_torch_network(build_model(**{**SETTINGS, **settings}), tmp_path / "network.pt")
    assert not list(tmp_path.iterdir())


# The command.


def test_the_command_there_and_back(tmp_path, capsys):
    network, checkpoint = tmp_path / "network.keras", tmp_path / "back.pt"
    assert main([str(NOW), str(network)]) == 0
    assert main([str(network), str(checkpoint), "--reverse"]) == 0
    said = capsys.readouterr().out
    assert "left out: D" in said and "2 levels of 1 blocks, 4 channels, 3x3 kernels" in said
    assert "--n_scales 2 --n_resblocks 1 --n_feats 4 --kernel_size 3" in said and "note" not in said
    for (name, tensor), (_, expected) in zip(*(sorted(read(file).items()) for file in (checkpoint, NOW))):
        np.testing.assert_allclose(tensor, expected, rtol=3e-7, err_msg=name)


def read(file):
    return read_checkpoint(file, lambda shapes: None)[0]


def test_a_network_of_the_reports_pyramid_goes_there_with_a_note(tmp_path, capsys):
    save_network(build_model(**{**SETTINGS, "pyramid": "matlab_bicubic"}), tmp_path / "network.keras")
    assert main([str(tmp_path / "network.keras"), str(tmp_path / "network.pt"), "--reverse"]) == 0
    assert "note: it was trained with model.pyramid matlab_bicubic" in capsys.readouterr().out


def test_wrong_arguments_are_named_and_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "mine.keras").write_text("precious")
    for arguments, words in [
        ([NOW, tmp_path / "mine.keras"], "mine.keras: is there already"),
        ([NOW, tmp_path / "network.pt"], "allowed: a name that ends in .keras"),
        ([tmp_path / "mine.keras", tmp_path / "network.keras", "--reverse"], "allowed: a name that ends in .pt"),
        ([tmp_path / "none.pt", tmp_path / "network.keras"], "none.pt: no such file"),
        ([tmp_path / "mine.keras", tmp_path / "network.pt", "--reverse"], "mine.keras: is not a network"),
        ([tmp_path / "mine.keras", tmp_path / "network.keras"], "it does not begin as PyTorch's files do"),
    ]:
        assert main(list(map(str, arguments))) == 2
        assert words in capsys.readouterr().err
    assert (tmp_path / "mine.keras").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.keras"]


# Files of others.


def refused(path, words):
    with pytest.raises(CheckpointError, match=words) as raised:
        read_torch_network(path)
    assert str(path) in str(raised.value)


class Evil:
    """What a pickle of it calls when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def archive(path, content, source=NOW):
    """A copy of a checkpoint with another data.pkl."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("data.pkl") else old.read(name))
    return path


def in_a_row(path, content, keys=pickle.dumps([], 2)):  # noqa: B008
    """A file in the format before PyTorch 1.6 whose content, and storages' keys, are these pickles."""
    first = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    path.write_bytes(b"".join([*first, content, keys]))
    return path


@pytest.mark.parametrize("write", [archive, in_a_row])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_write_a_file_does_not(tmp_path, write, protocol):
    trace = tmp_path / "it_ran"
    evils = [
        Evil(open, str(trace), "w"),
        Evil(exec, f"open({str(trace)!r}, 'w')"),
        Evil(shutil.copy, str(NOW), str(trace)),
    ]
    for number, evil in enumerate(evils):
        for content in (evil, {"G": evil}, {"G": {}, "D": evil}):
            path = write(tmp_path / f"evil{number}.pt", pickle.dumps(content, protocol))
            words = "which is code. Nothing of it was run" if protocol == 2 else "instruction|which is code"
            refused(path, words)
            assert not trace.exists()
    pickle.loads(pickle.dumps(evils[0], protocol))  # it would have
    assert trace.exists()


def bomb(depth=300):
    """A tuple of tuples, each twice in the next, so that to hash or to print it has no end: a pickle's instructions."""
    return b")" + b"".join(b"q%ch%c\x86" % (number % 250, number % 250) for number in range(depth))


def test_small_files_take_little_time_and_memory(tmp_path, tensors):
    for kind in ("body_models.{}.body.0.weight", "body_models.0.body.{}.body.0.weight"):
        tensors.update({kind.format(number): tensors[HEAD] for number in range(1, 2000)})
    write_checkpoint(tmp_path / "names.pt", tensors)
    refused(tmp_path / "names.pt", "2000 levels of 1999 blocks, for which it has too few tensors")
    key = in_a_row(tmp_path / "key.pt", pickle.dumps({"G": {}}, 2), b"\x80\x02](" + bomb() + b"e.")
    refused(key, "describes no storages")
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n("
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQ"
    many = b"(" + b"K\x01" * 100_000 + b"tq\xff"
    shared = b"".join(b"X\x01\0\0\0a" + tensor + storage + b"K\0h\xffh\xfftR" for _ in range(1000))
    content = b"\x80\x02}X\x01\0\0\0G}(X\x01\0\0\0x" + many + shared + b"us."
    refused(archive(tmp_path / "shape.pt", content), "describes no tensors")
    place = b"\x80\x02}X\x01\0\0\0G}(X\x01\0\0\0x(" + b"K\x01" * 100_000 + b"tQus."
    refused(archive(tmp_path / "place.pt", place), "describes no storages")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_named(tmp_path, tensors, value):
    tensors[UP][0, 0, 0, 0] = value
    write_checkpoint(tmp_path / "network.pt", tensors)
    refused(tmp_path / "network.pt", f"{UP} holds NaN or infinity")


def network_pickle():
    with zipfile.ZipFile(NOW) as file:
        return file.read(next(name for name in file.namelist() if name.endswith("data.pkl")))


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "pickle exhausted|is not a checkpoint"),
        (b"\x80\x02.", "is not a checkpoint"),
        (b"\x80\x02}.", "no tensors by the name"),
        (pickle.dumps([1, 2], 2), "no tensors by the name|is not a checkpoint"),
        (pickle.dumps({"G": {"x": 1}}, 2), "no tensors by the name"),
        (pickle.dumps({"G": {}}, 2), "body_models.0.body.0.weight is missing"),
        (pickle.dumps({"\x1b[31m": 1}, 2), "a text that cannot be printed"),
        (pickle.dumps({(1, 2): 3}, 2), "no tables of texts"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "is not a checkpoint"),  # a memo of two thousand million entries
        (b"\x80\x02X\xff\xff\xff\x7f.", "is not a checkpoint"),  # a text of two thousand million letters
        (b"\x80\x02" + b"}" * 5_000_000, "its pickle is too long"),
        (b"\x80\x02(" * 3, "is not a checkpoint"),
        (b"\x80\x02)" + b"\x86q\x00h\x00" * 50 + b".", "is not a checkpoint"),
        (network_pickle().replace(b"FloatStorage", b"ByteStorage"), "torch.ByteStorage, which is code"),
        (network_pickle().replace(b"FloatStorage", b"LongStorage"), "no tensor of floating-point numbers"),
        (network_pickle().replace(b"FloatStorage", b"DoubleStorage"), "larger than what is stored of it"),
    ],
)
def test_pickles_that_describe_no_network_are_refused(tmp_path, content, words):
    refused(archive(tmp_path / "network.pt", content), words)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.pop("body_models.1.body.1.body.2.bias"), "body_models.1.body.1.body.2.bias is missing"),
        (lambda t: t.pop(HEAD), "body_models.0.body.0.weight is missing"),
        (lambda t: t.update(extra=np.zeros(3)), "extra is not the network's"),
        (lambda t: t.update({UP: np.zeros((12, 3, 3, 3))}), r"\(12, 3, 3, 3\) and not \(12, 3, 5, 5\)"),
        (lambda t: t.update({HEAD: np.zeros((4, 3, 3, 3))}), r"\(4, 3, 3, 3\) and not \(4, 6, 3, 3\)"),
        (lambda t: t.update({HEAD: np.zeros(5)}), "missing, or no kernel"),
    ],
)
def test_other_tensors_are_named(tmp_path, tensors, change, words):
    change(tensors)
    write_checkpoint(tmp_path / "network.pt", tensors)
    refused(tmp_path / "network.pt", words)


def test_networks_that_are_not_built_here_are_named(tmp_path, tensors):
    four = {"conv_end_models.2.uppath.0": (12, 3, 5, 5), "conv_end_models.3.uppath.0": (12, 3, 5, 5)}
    for level in (1, 2, 3):
        shapes = {"0": (4, 3 if level == 3 else 6, 3, 3), "1.body.0": (4, 4, 3, 3), "1.body.2": (4, 4, 3, 3)}
        shapes["2"] = (3, 4, 3, 3)
        four.update({f"body_models.{level}.body.{name}": shape for name, shape in shapes.items()})
    for name, shape in four.items():
        tensors.update({f"{name}.weight": np.zeros(shape), f"{name}.bias": np.zeros(shape[0])})
    write_checkpoint(tmp_path / "network.pt", tensors)
    refused(tmp_path / "network.pt", "levels: received 4; allowed: one of 1, 2, 3")


def test_what_lies_beside_the_network_is_named(tmp_path):
    content = network_pickle().replace(b"X\x01\x00\x00\x00D", b"X\x01\x00\x00\x00E")
    refused(archive(tmp_path / "network.pt", content), "holds E beside the network; allowed are G and D")


def test_archives_that_are_not_pytorchs_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "GOPRO_L1.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.write(NOW, "GOPRO_L1/models/model-1000.pt")
    refused(tmp_path / "GOPRO_L1.zip", "an archive that was downloaded, give a .pt file out of it")
    with zipfile.ZipFile(NOW) as old, zipfile.ZipFile(tmp_path / "small.pt", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    refused(tmp_path / "small.pt", "is compressed")


@pytest.mark.parametrize("file", [NOW, BEFORE], ids=lambda file: file.stem)
def test_a_file_that_is_cut_off_is_refused_by_name(tmp_path, file):
    content, path = file.read_bytes(), tmp_path / "damaged.pt"
    for length in range(0, len(content), 61):
        path.write_bytes(content[:length])
        refused(path, "is not a checkpoint of DeepDeblur-PyTorch")


@pytest.mark.parametrize("file", [NOW, BEFORE], ids=lambda file: file.stem)
def test_files_with_a_flipped_bit_are_read_or_refused_by_name(tmp_path, random, file):
    good, path, outcomes = file.read_bytes(), tmp_path / "damaged.pt", {True: 0, False: 0}
    expected = read(file)
    for offset in random.integers(0, len(good), 300):
        content = bytearray(good)
        content[offset] ^= 1 << random.integers(0, 8)
        path.write_bytes(content)
        try:
            tensors = read(path)
        except CheckpointError as error:
            assert str(path) in str(error)
            outcomes[False] += 1
            continue
        outcomes[True] += 1
        if file is NOW:  # whose checksums show every bit that matters
            assert all((tensors[name] == tensor).all() for name, tensor in expected.items())
    assert min(outcomes.values()) > 10
