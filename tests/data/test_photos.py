"""`data.layout: photos`: pairs made from sharp photos while the training runs."""

import threading

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2", reason="the extra `synthesis` is not installed")

from deepdeblur_tf.config import ConfigError, load_experiment  # noqa: E402
from deepdeblur_tf.data import made_pairs  # noqa: E402
from deepdeblur_tf.data.kinds import find_data  # noqa: E402
from deepdeblur_tf.data.pipeline import make_datasets  # noqa: E402
from deepdeblur_tf.data.protocol import PairsError  # noqa: E402
from deepdeblur_tf.evaluate import main as evaluate  # noqa: E402
from deepdeblur_tf.images.rgb import read_rgb  # noqa: E402
from deepdeblur_tf.runs import provenance  # noqa: E402
from deepdeblur_tf.runs.folder import Run, RunError  # noqa: E402
from tests.helpers import ROOT  # noqa: E402


@pytest.fixture
def folder(tmp_path, scenes):
    for number in range(12):
        image = np.roll(scenes[number % 2][1], 20 * number, axis=1)
        (tmp_path / "photos" / f"sub{number % 3}").mkdir(parents=True, exist_ok=True)
        iio.imwrite(tmp_path / "photos" / f"sub{number % 3}" / f"{number:02d}.png", image)
    return tmp_path / "photos"


@pytest.fixture
def experiment(folder):
    def make(**changes):
        settings = {
            "data.root": folder,
            "data.layout": "photos",
            "data.pairs": 8,
            "data.patch_size": 32,
            "synthesis.painted": 0,
            "training.batch_size": 4,
            "training.epochs": 3,
            "validation.images": 3,
            **changes,
        }
        return load_experiment(ROOT / "experiments" / "quickstart.yaml", settings)

    return make


def test_each_epoch_has_new_pairs_and_the_validation_set_stays(experiment):
    train, validation = find_data(experiment()).open()
    assert len(train) == 8 and len(validation) == 3
    pairs = [train.read(number).tobytes() for number in range(24)]
    assert len(set(pairs)) == 24
    assert train.read(3).shape == (32, 32, 6)
    np.testing.assert_array_equal(validation.read(1), validation.read(1))


def test_photos_that_validate_are_not_trained_on(experiment):
    train, validation = find_data(experiment()).open()
    assert not set(train.files) & set(validation.files)
    assert len(train.files) == 10 and len(validation.files) == 2


def test_every_validation_pair_is_blurred(experiment):
    train, validation = find_data(experiment(**{"synthesis.unblurred": 1})).open()
    for source, is_blurred in ((train, False), (validation, True)):
        blurry, sharp = np.split(np.stack([source.read(number) for number in range(3)]), 2, axis=-1)
        assert (blurry != sharp).any(axis=(1, 2, 3)).tolist() == [is_blurred] * 3


@pytest.mark.slow
def test_the_stream_is_a_function_of_the_seed(experiment):
    def stream(**changes):
        return [np.asarray(blurry[0]) for blurry, _ in make_datasets(experiment(**changes))[0]]

    one, same, other = stream(), stream(), stream(seed=5)
    assert len(one) == 6
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_photos_that_memory_does_not_hold_are_decoded_again(experiment, monkeypatch):
    kept, _ = find_data(experiment()).open()
    monkeypatch.setattr(made_pairs, "available_memory", lambda: 2 * 3 * 256 * 256 * 3)  # half of it holds three
    decoded, _ = find_data(experiment()).open()
    for number in range(8):
        np.testing.assert_array_equal(decoded.read(number), kept.read(number))
    assert len(decoded.cache.photos) == 3 < len(kept.cache.photos)


def test_other_photos_are_other_data_and_moved_ones_are_the_same(experiment, folder, tmp_path):
    def described(root):
        chosen = experiment(**{"data.root": root})
        return chosen, find_data(chosen).about()

    run = Run(tmp_path / "run")
    first, data = described(folder)
    with run.claimed(first, data):
        provenance.record(run.provenance, data, 0, "CPU", "2")
        run.model.touch()
    moved = folder.rename(tmp_path / "moved")
    assert not run.differing(*described(moved))
    iio.imwrite(moved / "one_more.png", np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(RunError, match=r"train data: 10 photos, \w+ / 11 photos, \w+\n  validation data: 2 photos"):
        with run.claimed(*described(moved)):
            pass
    # Runs of earlier versions do not say which photos they had.
    provenance.record(run.provenance, {}, 0, "CPU", "2")
    assert not run.differing(experiment(), described(moved)[1])


def test_photos_of_any_format_and_name_are_taken(experiment, folder):
    photo = folder / "sub0" / "00.png"
    Image.open(photo).save(folder / "sub0" / "caf\udce9.webp", quality=95)  # as an archive of Windows unpacks
    assert [len(split) for split in find_data(experiment()).splits] == [11, 2]
    about = find_data(experiment()).about()
    photo.unlink()
    assert find_data(experiment()).about() != about


def test_a_run_on_photos_has_no_test_set(experiment, tmp_path, capfd):
    run = Run(tmp_path / "run")
    with run.claimed(experiment(), {}):
        run.logs.mkdir()
        run.model.touch()
    assert evaluate([str(run.folder), "--output", str(tmp_path / "out")]) == 2
    assert "holds sharp photos, no test set; name what to measure on with --data" in capfd.readouterr().err


def test_a_folder_without_photos_is_named(experiment, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(PairsError, match="empty: holds no photos"):
        find_data(experiment(**{"data.root": tmp_path / "empty"}))


def test_a_photo_smaller_than_a_patch_is_named(experiment, folder):
    iio.imwrite(folder / "tiny.png", np.zeros((20, 300, 3), np.uint8))
    with pytest.raises(PairsError, match=r"tiny.png: is 300x20, smaller than the 32x32 patch"):
        find_data(experiment())


def test_photos_that_cannot_be_used_are_left_out_on_request(experiment, folder):
    before = len(find_data(experiment()).splits[0].files)
    iio.imwrite(folder / "tiny.png", np.zeros((20, 300, 3), np.uint8))
    iio.imwrite(folder / "clear.png", np.zeros((64, 64, 4), np.uint8))
    (folder / "empty.jpg").write_bytes(b"")
    train = find_data(experiment(**{"data.on_error": "skip"})).splits[0]
    assert len(train.files) == before
    for words in ("tiny.png: is 300x20", "clear.png: has transparency", "empty.jpg: not a readable image"):
        assert sum(words in line for line in train.describe().splitlines()) == 1


def test_photos_need_a_folder(experiment):
    with pytest.raises(ConfigError, match="data.root: received 'scenes'; allowed: a folder of photos"):
        experiment(**{"data.root": "scenes"})


def test_both_sources_share_the_memory_and_a_kept_photo_is_not_waited_for(tmp_path, monkeypatch, random):
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file in files:
        iio.imwrite(file, random.integers(0, 256, (300, 300, 3), dtype=np.uint8))
    monkeypatch.setattr(made_pairs, "available_memory", lambda: 4 * 300 * 300 * 3)
    decoded, wait = [], threading.Event()

    def read(file):
        decoded.append(file)
        if file == files[1]:
            wait.wait(60)
        return read_rgb(file)

    monkeypatch.setattr(made_pairs, "read_rgb", read)
    cache = made_pairs.PhotoCache()
    first = cache.photo(files[0])
    slow = [threading.Thread(target=cache.photo, args=(files[1],)) for _ in range(2)]
    for thread in slow:
        thread.start()
    assert cache.photo(files[0]) is first  # while another one is being decoded
    wait.set()
    for thread in slow:
        thread.join()
    for _ in range(2):
        cache.photo(files[2])  # there was room for two
    assert decoded == [*files, files[2]]
