"""The pairs that networks are measured on. Loads no TensorFlow, so that what is wrong is said at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepdeblur_tf.config import SCENES
from deepdeblur_tf.data.pairs import check_sizes, find_test_pairs
from deepdeblur_tf.data.scenes import Scenes
from deepdeblur_tf.data.sources import Files, Source

SCENE_COUNT = 16  # those that experiments/quickstart.yaml validates on


@dataclass(frozen=True)
class TestSet:
    """What is measured on.

    Attributes:
        source: The pairs; see `deepdeblur_tf.data.sources`.
        scenes: The scene of each pair, "" for none.
        about: Where they come from: root, layout, blur, the number of pairs, a fingerprint.
        description: The same for a reader.
    """

    source: Source
    scenes: Sequence[str]
    about: dict
    description: str

    __test__ = False  # pytest would collect a class of this name as tests


def open_test_set(root: str, layout: str = "auto", blur: str = "blur") -> TestSet:
    """Finds and checks the pairs of a data set's test or validation set.

    Args:
        root: The data set's folder, one split of it, or "scenes": 16 embedded ones that no training sees.
        layout: As `pairs.find_pairs` has it.
        blur: "blur" or "blur_gamma".

    Raises:
        PairsError, ImageError: what is wrong with the folder, by the file's name.
    """
    if root == SCENES:
        source = Scenes(SCENE_COUNT, 0, blur, "validation")
        about = {"root": SCENES, "layout": SCENES, "blur": blur, "pairs": SCENE_COUNT, "fingerprint": SCENES}
        return TestSet(source, [""] * SCENE_COUNT, about, f"{SCENE_COUNT} embedded scenes ({blur})")
    folder = find_test_pairs(root, layout, blur)
    check_sizes(folder.pairs, 1)
    about = {
        "root": str(Path(root).expanduser().resolve()),
        "layout": folder.layout,
        "blur": blur,
        "pairs": len(folder.pairs),
        "fingerprint": folder.fingerprint(),
    }
    return TestSet(Files(folder.pairs), [pair.scene for pair in folder.pairs], about, folder.describe())
