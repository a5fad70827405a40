import csv
import re
import shutil

import imageio.v3 as iio
import numpy as np
import pytest

from deepdeblur_tf.config import Data
from deepdeblur_tf.data.kinds import find_data, find_test_set
from deepdeblur_tf.data.pairs import GOPRO_LARGE, check_sizes, find_pairs
from deepdeblur_tf.data.protocol import PairsError
from deepdeblur_tf.images.opening import ImageError


def names(folder):
    return [pair.name for pair in folder.pairs]


def test_gopro_layout(gopro):
    folder = find_pairs(gopro, "train")
    assert folder.layout == "gopro"
    assert names(folder)[:3] == ["GOPR0372_07_00/000001", "GOPR0372_07_00/000002", "GOPR0374_11_03/000001"]
    assert folder.pairs[0].blurry == gopro / "train/GOPR0372_07_00/blur/000001.png"
    assert folder.pairs[0].sharp == gopro / "train/GOPR0372_07_00/sharp/000001.png"
    assert len(find_pairs(gopro, "validation").pairs) == 2


def test_gopro_blur_gamma_by_setting(write_pairs):
    root = write_pairs([("train/s/blur", "train/s/sharp"), ("train/s/blur_gamma", "train/s/sharp")])
    assert find_pairs(root, "train", blur="blur_gamma").pairs[0].blurry == root / "train/s/blur_gamma/000001.png"
    assert "blur_gamma" in find_pairs(root, "train", blur="blur_gamma").describe()
    shutil.rmtree(root / "train/s/blur_gamma")
    with pytest.raises(PairsError, match="blur_gamma: no such folder"):
        find_pairs(root, "train", blur="blur_gamma")


def test_blur_gamma_outside_of_gopro_is_refused(write_pairs):
    root = write_pairs([("train/input", "train/target")])
    with pytest.raises(PairsError, match="gopro layout only"):
        find_pairs(root, "train", blur="blur_gamma")


def test_reds_layout(write_pairs):
    root = write_pairs([("train/train_blur/000", "train/train_sharp/000"), ("val/val_blur/001", "val/val_sharp/001")])
    train, validation = (find_pairs(root, split) for split in ("train", "validation"))
    assert train.layout == validation.layout == "reds"
    assert names(train) == ["000/000001", "000/000002"] and names(validation) == ["001/000001", "001/000002"]


def test_a_linked_split_of_reds_goes_by_its_links_name(write_pairs, tmp_path, monkeypatch):
    part = write_pairs([("train_blur/000", "train_sharp/000")], root=tmp_path / "disk2" / "part")
    (tmp_path / "REDS").mkdir()
    (tmp_path / "REDS" / "train").symlink_to(part)
    assert names(find_pairs(tmp_path / "REDS", "train")) == ["000/000001", "000/000002"]
    # A link of another name, and the folder that one is in.
    part.rename(tmp_path / "train")
    (tmp_path / "mine").symlink_to(tmp_path / "train")
    monkeypatch.chdir(tmp_path / "train")
    for root in (tmp_path / "mine", "."):
        assert find_test_set(Data(str(root))).source.names == ["000/000001", "000/000002"]


def test_what_was_looked_for_in_a_linked_split_is_named(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "REDS").mkdir()
    (tmp_path / "REDS" / "train").symlink_to(tmp_path / "part")
    with pytest.raises(PairsError, match="train_blur beside train_sharp or part_blur beside part_sharp"):
        find_pairs(tmp_path / "REDS", "train", "reds")


@pytest.mark.parametrize("blurry, sharp", [("input", "target"), ("blur", "sharp")])
@pytest.mark.parametrize("prefix", ["", "train/"])
def test_paired_layout(write_pairs, blurry, sharp, prefix):
    root = write_pairs([(f"{prefix}{blurry}/deep", f"{prefix}{sharp}/deep")])
    train = find_pairs(root, "train")
    assert train.layout == "paired" and names(train) == ["deep/000001", "deep/000002"]
    assert find_pairs(root, "validation").pairs == ()


def test_partners_may_have_different_suffixes(write_pairs, random):
    root = write_pairs([("input", "target")])
    (root / "target/000001.png").unlink()
    iio.imwrite(root / "target/000001.JPG", random.integers(0, 256, (40, 48, 3), dtype=np.uint8), extension=".jpg")
    assert find_pairs(root, "train").pairs[0].sharp.name == "000001.JPG"


@pytest.mark.real_data
def test_real_folders(shared):
    assert len(find_pairs(shared / "reds", "train").pairs) == 20
    assert len(find_pairs(shared / "reds", "validation").pairs) == 5
    gopro = find_pairs(shared / "gopro", "validation")
    assert gopro.layout == "gopro" and len(gopro.pairs) == 3
    with pytest.raises(PairsError, match="no training set"):
        find_pairs(shared / "gopro", "train")


@pytest.mark.real_data
def test_counts_are_those_of_the_published_lists(shared):
    with open(shared / "gopro" / "scenes.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for split, name in (("train", "train"), ("validation", "test")):
        assert GOPRO_LARGE[split] == {row["scene"]: int(row["pairs"]) for row in rows if row["split"] == name}
    assert sum(GOPRO_LARGE["train"].values()) == 2103 and sum(GOPRO_LARGE["validation"].values()) == 1111


@pytest.fixture
def whole_gopro(gopro, tmp_path):
    """GOPRO_Large's scenes and counts, every image a link to one file."""
    image = gopro / "train/GOPR0372_07_00/blur/000001.png"
    root = tmp_path / "whole"
    for split, folder in (("train", "train"), ("validation", "test")):
        for scene, count in GOPRO_LARGE[split].items():
            for kind in ("blur", "sharp"):
                (root / folder / scene / kind).mkdir(parents=True)
                for number in range(1, count + 1):
                    (root / folder / scene / kind / f"{number:06d}.png").symlink_to(image)
    return root


def test_a_whole_gopro_is_recognised_and_missing_frames_are_counted(whole_gopro):
    train = find_pairs(whole_gopro, "train")
    assert len(train.pairs) == 2103
    assert "GOPRO_Large, complete: 2103 pairs" in train.describe()
    assert "GOPR0374_11_03: 48" in train.describe()
    for kind in ("blur", "sharp"):
        (whole_gopro / "train/GOPR0374_11_03" / kind / "000007.png").unlink()
    shutil.rmtree(whole_gopro / "train/GOPR0884_11_00")
    text = find_pairs(whole_gopro, "train").describe()
    assert "101 of 2103 pairs missing" in text
    assert "GOPR0374_11_03: 47 of 48 pairs" in text and "GOPR0884_11_00: 0 of 100 pairs" in text
    assert "complete" in find_pairs(whole_gopro, "validation").describe()


def test_surplus_frames_and_own_scenes_do_not_hide_what_is_missing(whole_gopro):
    scene = whole_gopro / "train/GOPR0374_11_03"
    shutil.copytree(scene, whole_gopro / "train/mine", symlinks=True)
    for kind in ("blur", "sharp"):
        (scene / kind / "999999.png").symlink_to(scene / kind / "000001.png")
    shutil.rmtree(whole_gopro / "train/GOPR0884_11_00")
    text = find_pairs(whole_gopro, "train").describe()
    assert "100 of 2103 pairs missing" in text and "GOPR0374_11_03: 49 of 48 pairs" in text and "mine: 48" in text


@pytest.mark.parametrize("gone", ["blur", "sharp"])
def test_a_scene_without_one_of_its_folders_is_named(gopro, gone):
    shutil.rmtree(gopro / "train/GOPR0374_11_03" / gone)
    with pytest.raises(PairsError, match=f"GOPR0374_11_03/{gone}: no such folder"):
        find_pairs(gopro, "train")


def test_a_scene_without_images_is_named(gopro):
    for kind in ("blur", "sharp"):
        (gopro / "train/empty" / kind).mkdir(parents=True)
    with pytest.raises(PairsError, match="train/empty/blur: no images found"):
        find_pairs(gopro, "train")


def test_stray_files_are_no_scenes(write_pairs):
    root = write_pairs([("train/train_blur/000", "train/train_sharp/000")])
    (root / "train/train_blur/.DS_Store").write_bytes(b"")
    (root / "train/notes.png").mkdir()
    assert names(find_pairs(root, "train")) == ["000/000001", "000/000002"]


def test_linked_folders_are_followed(write_pairs, tmp_path):
    elsewhere = write_pairs([("input", "target")], root=tmp_path / "elsewhere")
    root = write_pairs([("input/a", "target/a")])
    for side in ("input", "target"):
        (root / side / "b").symlink_to(elsewhere / side)
    assert names(find_pairs(root, "train")) == ["a/000001", "a/000002", "b/000001", "b/000002"]


def test_other_scenes_are_counted_one_by_one(write_pairs):
    root = write_pairs([("train/mine/blur", "train/mine/sharp")])
    text = find_pairs(root, "train").describe()
    assert "2 pairs in 1 scene" in text and "mine: 2" in text and "GOPRO_Large" not in text


@pytest.mark.parametrize("gone, there", [("sharp", "blur"), ("blur", "sharp")])
def test_an_image_without_its_partner_is_named(gopro, gone, there):
    (gopro / f"train/GOPR0374_11_03/{gone}/000002.png").unlink()
    with pytest.raises(PairsError, match=re.escape(f"GOPR0374_11_03/{there}/000002.png: has no partner")):
        find_pairs(gopro, "train")


def test_two_sizes_in_one_pair_are_named(gopro, random):
    path = gopro / "train/GOPR0374_11_03/sharp/000002.png"
    iio.imwrite(path, random.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    with pytest.raises(PairsError, match=re.escape("000002.png is 50x40")):
        check_sizes(find_pairs(gopro, "train").pairs, 32)


def test_an_image_smaller_than_the_patch_is_named(gopro, small_experiment):
    with pytest.raises(PairsError, match="48x40, smaller than the 64x64 patch") as error:
        find_data(small_experiment(**{"data.root": str(gopro), "data.patch_size": 64}))
    assert "GOPR0372_07_00/blur/000001.png" in str(error.value)


def test_a_file_that_is_no_image_is_named(gopro, small_experiment):
    (gopro / "test/GOPR0384_11_00/sharp/000002.png").write_text("no image")
    with pytest.raises(ImageError, match="GOPR0384_11_00/sharp/000002.png: not a readable image"):
        find_data(small_experiment(**{"data.root": str(gopro)}))


@pytest.mark.parametrize("layout, looked_for", [("auto", "<scene>/blur beside <scene>/sharp"), ("reds", "train_blur")])
def test_an_empty_folder_says_what_was_looked_for(tmp_path, layout, looked_for):
    (tmp_path / "train").mkdir()
    with pytest.raises(PairsError, match=f"no pairs found.*{looked_for}"):
        find_pairs(tmp_path, "train", layout)


def test_a_layout_that_is_not_there_is_refused(gopro):
    with pytest.raises(PairsError, match="train_blur beside train_sharp"):
        find_pairs(gopro, "train", "reds")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(PairsError, match="nowhere: no such folder"):
        find_pairs(tmp_path / "nowhere", "train")


def test_two_images_of_one_name_are_refused(gopro):
    folder = gopro / "train/GOPR0374_11_03/blur"
    shutil.copy(folder / "000001.png", folder / "000001.bmp")
    with pytest.raises(PairsError, match="same name"):
        find_pairs(gopro, "train")
