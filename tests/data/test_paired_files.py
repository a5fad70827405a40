import csv
import re
import shutil

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from deepdeblur_tf.config import ConfigError, Data
from deepdeblur_tf.data.kinds import find_data, find_test_set
from deepdeblur_tf.data.paired_files import GOPRO_LARGE, check_sizes, find_pairs
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
    for split in ("train", "test"):
        assert GOPRO_LARGE[split] == {row["scene"]: int(row["pairs"]) for row in rows if row["split"] == split}
    assert sum(GOPRO_LARGE["train"].values()) == 2103 and sum(GOPRO_LARGE["test"].values()) == 1111


@pytest.fixture
def whole_gopro(gopro, tmp_path):
    """GOPRO_Large's scenes and counts, every image a link to one file."""
    image = gopro / "train/GOPR0372_07_00/blur/000001.png"
    root = tmp_path / "whole"
    for folder in ("train", "test"):
        for scene, count in GOPRO_LARGE[folder].items():
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


@pytest.mark.parametrize("blurry, sharp", [("lq", "gt"), ("LQ", "GT"), ("A", "B"), ("blur", "gt"), ("Blurry", "Sharp")])
@pytest.mark.parametrize("prefix", ["", "train/", "train/scene001/"])
def test_paired_folders_of_other_names(write_pairs, blurry, sharp, prefix):
    root = write_pairs([(prefix + blurry, prefix + sharp)])
    train = find_pairs(root, "train")
    scene = "scene001/" if "scene" in prefix and (blurry, sharp) != ("blur", "sharp") else ""
    assert names(train) == [f"{scene}000001", f"{scene}000002"]
    assert train.pairs[0].blurry == root / f"{prefix}{blurry}/000001.png"
    assert train.pairs[0].sharp == root / f"{prefix}{sharp}/000001.png"
    # Which is which can be seen.
    assert f"such as {prefix}{blurry}/000001.png (blurry) and {prefix}{sharp}/000001.png (sharp)" in train.describe()


def test_names_that_were_recognised_before_others_still_win(write_pairs):
    root = write_pairs([("lq", "gt"), ("A", "B"), ("blur", "sharp"), ("input", "target")])
    for kept in (("input", "target"), ("blur", "sharp"), ("lq", "gt"), ("A", "B")):
        pair = find_pairs(root, "train").pairs[0]
        assert (pair.blurry.parent.name, pair.sharp.parent.name) == kept
        shutil.rmtree(root / kept[0])
        shutil.rmtree(root / kept[1])


def test_a_scene_that_lacks_a_paired_folder_is_named(write_pairs):
    root = write_pairs([("train/s1/lq", "train/s1/gt"), ("train/s2/input", "train/s2/target"), ("train/s3/lq", "away")])
    with pytest.raises(PairsError, match="s3/gt: no such folder, but .*s3/lq is there"):
        find_pairs(root, "train")
    shutil.rmtree(root / "train/s3")
    assert names(find_pairs(root, "train")) == ["s1/000001", "s1/000002", "s2/000001", "s2/000002"]


def test_folders_of_the_users_names(write_pairs, small_experiment):
    root = write_pairs([("train/shaky", "train/still"), ("val/shaky", "val/still")])
    with pytest.raises(PairsError, match="no pairs found.*data.blurry and data.sharp"):
        find_pairs(root, "train")
    flags = {"data.root": str(root), "data.patch_size": 32, "data.blurry": "shaky", "data.sharp": "still"}
    found = find_data(small_experiment(**flags))
    assert [len(split) for split in found.splits] == [2, 2]
    with pytest.raises(PairsError, match="no pairs found. Looked for shaky beside stil;"):
        find_data(small_experiment(**{**flags, "data.sharp": "stil"}))
    with pytest.raises(PairsError, match="are for the layouts paired and marked, not for gopro"):
        find_data(small_experiment(**{**flags, "data.layout": "gopro"}))


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"data.blurry": "lq"}, "data.sharp: received ''; allowed: another name than data.blurry"),
        ({"data.blurry": "lq", "data.sharp": "LQ"}, "allowed: another name than data.blurry, 'lq'"),
        ({"data.blurry": "../lq", "data.sharp": "gt"}, "data.blurry: received '../lq'; allowed: a folder's name"),
        ({"data.blurry": "lq", "data.sharp": "gt", "data.layout": "photos"}, "nothing for photos"),
    ],
)
def test_names_that_are_none(small_experiment, tmp_path, flags, message):
    with pytest.raises(ConfigError, match=message):
        small_experiment(**{"data.root": str(tmp_path), **flags})


@pytest.mark.parametrize(
    "blurry, sharp, flags",
    [
        ("{}_blur", "{}_sharp", {}),
        ("{}-Blurred", "{}-GT", {}),
        ("lq_{}", "gt_{}", {}),
        ("{}_a", "{}_b", {"blurry": "_A", "sharp": "_B"}),
    ],
)
@pytest.mark.parametrize("subfolder", ["", "deep/"])
def test_names_of_files_tell_the_sides_apart_in_one_folder(write_pairs, blurry, sharp, flags, subfolder):
    root = write_pairs([(f"test/{subfolder}", f"test/{subfolder}")], [f"{blurry.format('7')}.png"])
    write_pairs([(f"test/{subfolder}", f"test/{subfolder}")], [f"{sharp.format('7')}.png"])
    found = find_pairs(root, "test", **flags)
    assert names(found) == [f"{subfolder}7"] and found.layout == "marked"
    assert found.pairs[0].blurry == root / "test" / subfolder / f"{blurry.format('7')}.png"
    assert found.pairs[0].sharp == root / "test" / subfolder / f"{sharp.format('7')}.png"
    write_pairs([(f"test/{subfolder}", f"test/{subfolder}")], ["8.png"])
    with pytest.raises(PairsError, match=r"8.png: is it blurry or sharp\?"):
        find_pairs(root, "test", **flags)
    (root / "test" / subfolder / "8.png").rename(root / "test" / subfolder / f"{blurry.format('8')}.png")
    with pytest.raises(PairsError, match=f"{blurry.format('8')}.png: has no partner"):
        find_pairs(root, "test", **flags)


@pytest.mark.parametrize(
    "folders, blurry, sharp",
    [
        (("blur", "gt"), "blur_{}", "gt_{}"),  # RealBlur's names
        (("input", "target"), "{}_blur", "{}_sharp"),
        (("input", "target"), "{}_blur", "{}"),
        (("A", "B"), "{}_A", "{}_B"),
    ],
)
def test_marked_files_in_two_folders(write_pairs, folders, blurry, sharp):
    root = write_pairs([folders], [f"{kind.format(number)}.png" for kind in (blurry, sharp) for number in (1, 2)])
    for folder, other in zip(folders, (sharp, blurry)):
        for number in (1, 2):
            (root / folder / f"{other.format(number)}.png").unlink()
    found = find_pairs(root, "train")
    assert names(found) == ["1", "2"] and found.layout == "paired"
    assert found.pairs[1].blurry.stem == blurry.format(2) and found.pairs[1].sharp.stem == sharp.format(2)
    (root / folders[1] / f"{sharp.format(2)}.png").unlink()
    with pytest.raises(PairsError, match=f"{blurry.format(2)}.png: has no partner"):
        find_pairs(root, "train")


def test_no_image_is_lost_among_marked_ones(write_pairs):
    root = write_pairs([("input", "away"), ("away", "target")], ["1_blur.png"])
    (root / "target/1_blur.png").rename(root / "target/1_sharp.png")
    shutil.copy(root / "input/1_blur.png", root / "input/1.png")
    with pytest.raises(PairsError, match="1_blur.png: is for the same pair as .*1.png"):
        find_pairs(root, "train")


def test_marks_that_are_on_both_sides_stay(write_pairs):
    root = write_pairs([("input", "target")], ["gt_1.png", "1_blur.png"])
    assert names(find_pairs(root, "train")) == ["1_blur", "gt_1"]


@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".webp"])
def test_pairs_in_other_formats(write_pairs, suffix, small_experiment):
    root = write_pairs([("input", "target"), ("val/input", "val/target")])
    pixels = {path: iio.imread(path) for path in root.rglob("*.png")}
    for path, image in pixels.items():
        Image.fromarray(image).save(path.with_suffix(suffix), **({"lossless": True} if suffix == ".webp" else {}))
        path.unlink()
    found = find_test_set(Data(str(root / "val")))
    expected = [pixels[root / "val" / side / "000002.png"] for side in ("input", "target")]
    np.testing.assert_array_equal(found.source.read(1), np.concatenate(expected, axis=2))


def test_what_was_found_before_other_formats_were_read_is_found_still(write_pairs):
    root = write_pairs([("input", "target")])
    before = find_pairs(root, "train").fingerprint()
    for name in ("input/000001.tif", "input/alone.webp", "target/preview.tiff"):
        Image.new("RGB", (4, 4)).save(root / name)
    assert find_pairs(root, "train").fingerprint() == before
    # The partner of a PNG may be a TIFF, and then a TIFF without one is missed.
    (root / "target/000002.png").unlink()
    Image.new("RGB", (48, 40)).save(root / "target/000002.tif")
    with pytest.raises(PairsError, match="alone.webp: has no partner"):
        find_pairs(root, "train")


def test_a_deep_tiff_is_named(write_pairs):
    root = write_pairs([("lq", "gt")])
    for side in ("lq", "gt"):
        (root / side / "000001.png").unlink()
        Image.fromarray(np.zeros((40, 48), np.uint16)).save(root / side / "000001.tif")
    with pytest.raises(ImageError, match="lq/000001.tif: has 16 bits a channel"):
        find_test_set(Data(str(root)))
