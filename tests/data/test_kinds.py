"""The one door: every kind of data is found, described and opened by the same functions."""

import pytest

from deepdeblur_tf.config import Data
from deepdeblur_tf.data.kinds import find_data, find_test_set, in_words
from deepdeblur_tf.data.protocol import PairsError


def test_pairs_on_disk(gopro, small_experiment):
    experiment = small_experiment(**{"data.root": str(gopro)})
    data_set = find_data(experiment)
    train, validation = data_set.open()
    assert data_set.epoch_pairs == len(train) == 4 and len(validation) == 2
    assert {name: list(about) for name, about in data_set.about().items()} == {
        "train": ["pairs", "sha256"],
        "validation": ["pairs", "sha256"],
    }
    tested = find_test_set(Data(str(gopro)))
    assert tested.about["pairs"] == len(tested.source) and not tested.independent
    assert in_words(experiment.data) == f"`{gopro.name}` (layout auto, `blur`)"


def test_embedded_scenes(small_experiment):
    data_set = find_data(small_experiment())
    train, validation = data_set.open()
    assert data_set.epoch_pairs == len(train) == 6 and len(validation) == 2
    assert data_set.about() == {} and data_set.splits == ()
    tested = find_test_set(Data("scenes"))
    assert len(tested.source) == 16 and tested.independent
    assert in_words(Data("scenes", scenes=7)) == "7 embedded synthetic scenes (`blur`)"


def test_photos(tmp_path, scenes, small_experiment):
    pytest.importorskip("cv2", reason="the extra `synthesis` is not installed")
    from deepdeblur_tf.images.rgb import write_image

    for number in range(3):
        write_image(tmp_path / f"{number}.png", scenes[0][1])
    experiment = small_experiment(**{"data.root": str(tmp_path), "data.layout": "photos", "data.pairs": 5})
    data_set = find_data(experiment)
    train, _ = data_set.open()
    assert data_set.epoch_pairs == len(train) == 5
    assert [split.describe().split(" in ")[0] for split in data_set.splits] == [
        "train: pairs made from 2 photos",
        "validation: pairs made from 1 photo",
    ]
    with pytest.raises(PairsError, match="holds sharp photos, no test set"):
        find_test_set(experiment.data)
    assert in_words(experiment.data) == f"pairs made from the photos in `{tmp_path.name}`"


def test_data_that_were_trained_on_are_no_test_set(write_pairs):
    data = Data(str(write_pairs([("input", "target")])))
    assert len(find_test_set(data).source) == 2
    with pytest.raises(PairsError, match="was trained on and has no test set; name other data with --data"):
        find_test_set(data, was_trained_on=True)
