"""What a server runs: a network with everything around it inside the graph, from a file's bytes to a file's bytes."""

from __future__ import annotations

from deepdeblur_tf.compat import tf, tf_variables
from deepdeblur_tf.model import to_uint8
from deepdeblur_tf.restoration.restorer import restoring_graph
from deepdeblur_tf.serving.decoding import allowed_pixels, decode, is_within, require

IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")


class Service(tf.Module):
    """The signatures of an export.

    Args:
        model: A network of `build_model` or `load_model`.
        max_pixels: int. Pixels that are restored at once: those of an encoded image, as they are taken one by one, or
            of all the images of a uint8 tensor.
    """

    def __init__(self, model: tf.keras.Model, max_pixels: int):
        super().__init__(name="deepdeblur")
        self._max_pixels = max_pixels
        self._graph = restoring_graph(model)
        self._variables = tf_variables(model)  # what is saved with the graph

    @tf.function(input_signature=[IMAGES])
    def restore_unbounded(self, image):
        """`restore_uint8` without its bound, for programs that choose their images themselves."""
        return {"restored": to_uint8(self._restored(image))}

    def _restored(self, image):
        height, width = tf.shape(image)[1], tf.shape(image)[2]
        return self._graph(image)[0][:, :height, :width]

    def _checked(self, image):
        """uint8, of numbers only: NaN would be black."""
        restored = self._restored(image)
        is_finite = tf.reduce_all(tf.math.is_finite(restored))
        with tf.control_dependencies([require(is_finite, "the network's output is no finite number")]):
            return to_uint8(tf.identity(restored))

    @tf.function(input_signature=[IMAGES])
    def restore_uint8(self, image):
        """Restores images of one size.

        Args:
            image: uint8 [N, H, W, 3], RGB; 1 to `max_pixels` pixels in all.

        Returns:
            {"restored": uint8 [N, H, W, 3]}

        Errors: INVALID_ARGUMENT for any other number of pixels.
        """
        count, height, width = (tf.cast(size, tf.int64) for size in tf.unstack(tf.shape(image)[:3]))
        allowed = tf.logical_and(count * height * width >= 1, is_within(height, width, self._max_pixels, count))
        size = (count, " images of ", width, "x", height, f" pixels; allowed are {allowed_pixels(self._max_pixels)}")
        with tf.control_dependencies([require(allowed, *size)]):
            return {"restored": self._checked(tf.identity(image))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(self, image_bytes):
        """Restores encoded images.

        Args:
            image_bytes: string [N]. PNG, JPEG, BMP (8, 24 or 32 bits) or GIF (its first frame), of any sizes.

        Returns:
            {"restored_bytes": string [N]}, PNG; upright, grey where the image was, with its alpha channel.

        Errors: INVALID_ARGUMENT with the image's number, for what `decoding.decode` refuses.
        """
        count = tf.shape(image_bytes)[0]

        def restored(numbered):
            number, data = numbered
            subject = tf.strings.format("image {} of {}", (number, count))
            image = decode(data, self._max_pixels, subject)
            pixels = self._checked(image.rgb[None])[0]
            pixels = tf.cond(image.is_grey, lambda: _grey(pixels), lambda: pixels)
            return tf.io.encode_png(tf.concat([pixels, image.alpha], axis=2))

        images = tf.range(1, count + 1), image_bytes
        return {"restored_bytes": tf.map_fn(restored, images, fn_output_signature=tf.string, parallel_iterations=1)}


def _grey(rgb):
    """uint8 [H, W, 3] to [H, W, 1] as Pillow makes it, from ITU-R 601-2 luma in whole numbers."""
    weights = tf.constant([19595, 38470, 7471])
    total = tf.reduce_sum(tf.cast(rgb, tf.int32) * weights, axis=2, keepdims=True) + 0x8000
    return tf.cast(tf.bitwise.right_shift(total, 16), tf.uint8)
