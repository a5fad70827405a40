"""Any image through a network."""

from __future__ import annotations

import numpy as np

from deepdeblur_tf.compat import tf
from deepdeblur_tf.pyramid import mirror_pad, pyramid, to_network, to_uint8


def restore(model: tf.keras.Model, image_uint8) -> np.ndarray:
    """Restores a blurry image of any size.

    The image is continued by mirroring to a multiple of 2 ** (levels - 1), shrunk with the in-graph pyramid (MATLAB's
    `imresize`, bit by bit), run through the network whole, and cut back.

    Args:
        model: A network of `build_model` or `load_model`.
        image_uint8: uint8 [H, W, 3], RGB.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: for another shape or dtype.
    """
    image = np.asarray(image_uint8)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"restore takes uint8 [H, W, 3]. Received: {image.dtype} {list(image.shape)}")
    levels = len(model.inputs)
    padded = tf.convert_to_tensor(image[None])
    for axis in (1, 2):
        padded = mirror_pad(padded, 0, -padded.shape[axis] % 2 ** (levels - 1), axis)
    restored = model(tuple(map(to_network, pyramid(padded, levels))), training=False)
    return to_uint8(restored[0][0, : image.shape[0], : image.shape[1]]).numpy()
