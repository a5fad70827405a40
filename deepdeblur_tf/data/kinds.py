"""The one door to the data: finds, describes and opens a data set by its kind. Loads no TensorFlow.

Another kind is a module of this room with the functions of `protocol.Kind`, and its name in `config.kind_of`.
"""

from __future__ import annotations

from importlib import import_module

from deepdeblur_tf.config import Data, Experiment, kind_of
from deepdeblur_tf.data.protocol import DataSet, Kind, TestSet


def _kind(data: Data) -> Kind:
    return import_module(f"deepdeblur_tf.data.{kind_of(data)}")


def find_data(experiment: Experiment) -> DataSet:
    """Finds and checks an experiment's data: headers of all images, so that a bad file is named before the long work.

    Raises:
        PairsError, ImageError: what is wrong with the folder, by the file's name.
        UserError: a package is missing.
    """
    return _kind(experiment.data).find(experiment)


def find_test_set(data: Data, was_trained_on: bool = False) -> TestSet:
    """Finds and checks the pairs of a data set's test or validation set.

    Args:
        data: The settings root, which may also be a split's own folder, layout and blur. `scenes` are 16 that no
            training sees.
        was_trained_on: Whether networks were trained on `data`; then a folder without a test set is refused, which
            otherwise is one.

    Raises:
        PairsError, ImageError: what is wrong with the folder, by the file's name.
    """
    return _kind(data).find_test_set(data, was_trained_on)


def in_words(data: Data) -> str:
    """What a network was trained on, for its card, without the folder's path."""
    return _kind(data).in_words(data)
