import hashlib
import os
import subprocess
import sys
import threading

import imageio.v3 as iio
import numpy as np
import pytest

from deepdeblur_tf.config import load_experiment
from deepdeblur_tf.data import sources
from deepdeblur_tf.data.kinds import find_data
from deepdeblur_tf.data.paired_files import find_pairs
from deepdeblur_tf.data.protocol import PairsError
from deepdeblur_tf.data.sources import Files, InMemory, OnDisk, ReadableOnly
from deepdeblur_tf.images.opening import ImageError
from tests.helpers import ROOT


@pytest.fixture
def files(gopro):
    return Files(find_pairs(gopro, "train").pairs)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_a_pair_is_blurry_then_sharp(files):
    pair = files.read(1)
    np.testing.assert_array_equal(pair[..., :3], iio.imread(files.pairs[1].blurry))
    np.testing.assert_array_equal(pair[..., 3:], iio.imread(files.pairs[1].sharp))
    assert len(files) == 4 and files.names[1] == "GOPR0372_07_00/000002"


@pytest.mark.parametrize(
    "keep", [lambda source: InMemory(source, 0), lambda source: OnDisk(source, source.pairs[0].blurry.parent / "cache")]
)
def test_kept_pairs_equal_decoded_ones_and_need_no_second_decoding(files, keep):
    source = keep(files)
    expected = [files.read(index) for index in range(4)]
    for _ in range(2):
        for index in range(4):
            np.testing.assert_array_equal(source.read(index), expected[index])
        files.read = None  # from here on a decoding would fail


def test_what_memory_does_not_hold_is_not_begun(files, monkeypatch):
    needed = 4 * 40 * 48 * 6
    assert sum(map(sources.decoded_bytes, files.pairs)) == needed
    monkeypatch.setattr(sources, "available_memory", lambda: needed - 1)
    with pytest.raises(PairsError, match=r"need 0.0 GB of memory; 0.0 GB are available. Use data.cache disk or none"):
        InMemory(files, needed)
    monkeypatch.setattr(sources, "available_memory", lambda: needed)
    InMemory(files, needed)
    with pytest.raises(PairsError, match="the decoded images need 0.0 GB of memory"):  # embedded scenes, too
        find_data(load_experiment("quickstart", {"data.scenes": 4})).open()


class Endless:
    """One pair for any number, but for numbers that a third divides."""

    is_endless, names = True, ["a", "b", "c", "d"]

    def __len__(self):
        return 4

    def read(self, index):
        if index % 3 == 0:
            raise ImageError(f"{index}: unreadable")
        return np.full((1, 1, 6), index, np.uint8)


def test_an_endless_source_stays_endless_where_pairs_are_skipped(tmp_path):
    source = ReadableOnly(Endless(), tmp_path / "unreadable.txt")
    assert source.is_endless
    assert [int(source.read(index)[0, 0, 0]) for index in range(3, 9)] == [4, 4, 5, 7, 7, 8]
    assert source.unreadable() == ["3: unreadable", "6: unreadable"]


def test_disk_cache_is_reused_by_the_next_run(files, cache):
    expected = OnDisk(files, cache).read(0).copy()
    later = OnDisk(Files(files.pairs), cache)
    later.source.read = None
    assert isinstance(later.read(0), np.memmap)
    np.testing.assert_array_equal(later.read(0), expected)


def test_a_changed_file_is_decoded_anew(files, cache, random):
    OnDisk(files, cache).read(0)
    image = random.integers(0, 256, (40, 48, 3), dtype=np.uint8)
    iio.imwrite(files.pairs[0].sharp, image)
    np.testing.assert_array_equal(OnDisk(files, cache).read(0)[..., 3:], image)
    # The same size at another time is another file as well.
    before = files.pairs[0].sharp.stat()
    iio.imwrite(files.pairs[0].sharp, 255 - image)
    os.utime(files.pairs[0].sharp, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    np.testing.assert_array_equal(OnDisk(files, cache).read(0)[..., 3:], 255 - image)


def test_an_interrupted_first_pass_leaves_nothing_that_is_trusted(files, cache, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    source = OnDisk(files, cache)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            source.read(0)
    np.testing.assert_array_equal(source.read(0), files.read(0))
    assert len(list(cache.glob("*.npy"))) == 1


def test_a_damaged_array_is_decoded_anew(files, cache):
    expected = OnDisk(files, cache).read(0).copy()
    (array,) = cache.glob("*.npy")
    array.write_bytes(array.read_bytes()[:-1000])
    np.testing.assert_array_equal(OnDisk(files, cache).read(0), expected)


def test_a_cache_that_is_no_folder_is_named(files, cache):
    cache.write_text("a file, no folder")
    with pytest.raises(PairsError, match="data.cache_folder: cannot"):
        OnDisk(files, cache)
    cache.unlink()
    source = OnDisk(files, cache)
    cache.rmdir()
    cache.write_text("a file again")
    with pytest.raises(PairsError, match="data.cache_folder: .* cannot be read"):
        source.read(0)


def test_a_file_that_vanishes_is_named(files, cache):
    source = OnDisk(files, cache)
    path = files.pairs[1].sharp
    path.unlink()
    with pytest.raises(ImageError, match=f"{path}: no such file"):
        source.read(1)


def test_several_threads_may_fill_one_cache(files, cache):
    expected = files.read(0)
    results = []
    threads = [threading.Thread(target=lambda: results.append(OnDisk(files, cache).read(0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8 and all(np.array_equal(result, expected) for result in results)


def test_several_processes_may_fill_one_cache(files, cache, gopro):
    code = (
        "import sys, hashlib\n"
        "from deepdeblur_tf.data.paired_files import find_pairs\n"
        "from deepdeblur_tf.data.sources import Files, OnDisk\n"
        "source = OnDisk(Files(find_pairs(sys.argv[1], 'train').pairs), sys.argv[2])\n"
        "for _ in range(50):\n"
        "    for index in range(len(source)):\n"
        "        sys.stdout.write(hashlib.sha256(source.read(index).tobytes()).hexdigest() + '\\n')\n"
        "        source._array(source.source.pairs[index]).unlink(missing_ok=True)\n"  # so that it is filled again
    )
    command = [sys.executable, "-c", code, str(gopro), str(cache)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    expected = [hashlib.sha256(files.read(index).tobytes()).hexdigest() for index in range(len(files))]
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0 and output.split() == 50 * expected


def test_a_file_that_does_not_decode_is_named(files):
    path = files.pairs[2].sharp
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError, match=str(path)):
        files.read(2)
