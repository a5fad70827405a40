import numpy as np

from deepdeblur_tf.data.scenes import EmbeddedScenes


def test_scenes_are_a_function_of_seed_split_and_index():
    scenes = EmbeddedScenes(4, 0, "blur", "train")
    first = scenes.read(1)
    assert first.shape == (256, 256, 6) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, EmbeddedScenes(9, 0, "blur", "train").read(1))
    for other in (
        EmbeddedScenes(4, 1, "blur", "train").read(1),
        EmbeddedScenes(4, 0, "blur", "validation").read(1),
        scenes.read(2),
    ):
        assert (other != first).mean() > 0.5
    assert len(scenes) == 4 and scenes.names[1] == "train/000001"
