"""What a server runs: a network with everything around it inside the graph, from a file's bytes to a file's bytes."""

from __future__ import annotations

import functools

from deepdeblur_tf.compat import tf, tf_variables
from deepdeblur_tf.model import to_uint8
from deepdeblur_tf.restoration.restorer import restoring_graph
from deepdeblur_tf.restoration.scale import SCALES
from deepdeblur_tf.serving.decoding import allowed_pixels, decode, is_within, require
from deepdeblur_tf.serving.scaling import best_scale, grey_as, restored_at

SIGNATURES = ("serving_default", "restore_uint8", "restore_at_scale")

IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")
FILES = tf.TensorSpec([None], tf.string, name="image_bytes")
NUMBER = tf.TensorSpec([], tf.int32)

# Nowhere does Python's own `if` or `for` look at a tensor, so that AutoGraph has nothing to convert.
_traced = functools.partial(tf.function, autograph=False)
# Traced, optimised and set up once for all signatures, which takes several times as long as all else.
_shared = functools.partial(_traced, experimental_attributes={"_noinline": True})


class Service(tf.Module):
    """The signatures of an export.

    Args:
        network: Of `build_model` or `load_model`.
        max_pixels: int. Pixels that are restored at once: those of an encoded image, as they are taken one by one, or
            of all the images of a uint8 tensor.
        scale: As `Restorer` has it: one of `SCALES`, or "auto", which finds it for each image. Defaults to "auto".
    """

    def __init__(self, network: tf.keras.Model, max_pixels: int, scale: float | str = "auto"):
        super().__init__(name="deepdeblur")
        # As a number in `SCALES`; -1 for "auto".
        self._scale = -1 if scale == "auto" else SCALES.index(scale)
        self._max_pixels = max_pixels
        self._graph = restoring_graph(network)
        self._variables = tf_variables(network)  # what is saved with the graph

    @_traced(input_signature=[IMAGES])
    def restore_unbounded(self, image):
        """`restore_uint8` at scale 1 and without its bound, for programs that choose their images themselves."""
        return {"restored": grey_as(image, to_uint8(self._restored(image)))}

    def _restored(self, image):
        height, width = tf.shape(image)[1], tf.shape(image)[2]
        return self._graph(image)[0][:, :height, :width]

    def _checked(self, image):
        """The network's output, of numbers only: NaN would be black."""
        restored = self._restored(image)
        is_finite = tf.reduce_all(tf.math.is_finite(restored))
        with tf.control_dependencies([require(is_finite, "the network's output is no finite number")]):
            return tf.identity(restored)

    @_shared(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8), NUMBER])
    def _at(self, image, number):
        """uint8 [H, W, 3] restored, and the number of its scale in `SCALES`; `number` may be -1, for the best."""
        number = tf.cond(number < 0, lambda: best_scale(image, self._checked), lambda: tf.identity(number))
        return restored_at(image[None], number, self._checked)[0], number

    @_traced(input_signature=[IMAGES])
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
            image = tf.identity(image)
        if self._scale >= 0:
            return {"restored": restored_at(image, tf.constant(self._scale), self._checked)}
        best = functools.partial(self._at, number=tf.constant(-1))
        types = (tf.TensorSpec([None, None, 3], tf.uint8), tf.int32)
        return {"restored": tf.map_fn(best, image, parallel_iterations=1, fn_output_signature=types)[0]}

    @_traced(input_signature=[FILES])
    def serving_default(self, image_bytes):
        """Restores encoded images.

        Args:
            image_bytes: string [N]. PNG, JPEG, BMP (8, 24 or 32 bits) or GIF (its first frame), of any sizes.

        Returns:
            {"restored_bytes": string [N]}, PNG; upright, grey where the image was, with its alpha channel.

        Errors: INVALID_ARGUMENT with the image's number, for what `decoding.decode` refuses.
        """
        return {"restored_bytes": self._files(image_bytes, tf.fill(tf.shape(image_bytes), self._scale))[0]}

    @_traced(input_signature=[FILES, tf.TensorSpec([None], tf.float32, name="scale")])
    def restore_at_scale(self, image_bytes, scale):
        """Restores encoded images, each at a scale.

        Args:
            image_bytes: As `serving_default` has it.
            scale: float32 [N]. Of `SCALES`, or 0 for the best.

        Returns:
            {"restored_bytes": string [N], as `serving_default` has it;
             "scale": float32 [N], at which each image was restored}

        Errors: INVALID_ARGUMENT as `serving_default`; for another scale, or not as many scales as images.
        """
        known = tf.constant([*SCALES, 0])
        is_known = tf.equal(scale[:, None], known)
        allowed = f"allowed are {', '.join(f'{value:g}' for value in SCALES)}, or 0 for the best"
        received = tf.strings.reduce_join(tf.strings.as_string(scale, shortest=True), separator=", ")
        images = tf.size(image_bytes)
        checks = [
            require(tf.equal(tf.size(scale), images), tf.size(scale), " scales for ", images, " images"),
            require(tf.reduce_all(tf.reduce_any(is_known, axis=1)), "scale is ", received, f"; {allowed}"),
        ]
        with tf.control_dependencies(checks):
            numbers = tf.argmax(tf.cast(is_known, tf.int32), axis=1, output_type=tf.int32)
        restored, numbers = self._files(image_bytes, tf.where(numbers < len(SCALES), numbers, -1))
        return {"restored_bytes": restored, "scale": tf.gather(known, numbers)}

    def _files(self, image_bytes, numbers):
        """PNGs of encoded images restored at scales of these numbers, and the numbers without -1."""
        count = tf.shape(image_bytes)[0]
        return tf.map_fn(
            lambda given: self._file(*given, count),
            (tf.range(1, count + 1), image_bytes, numbers),
            fn_output_signature=(tf.string, tf.int32),
            parallel_iterations=1,
        )

    @_shared(input_signature=[NUMBER, tf.TensorSpec([], tf.string), NUMBER, NUMBER])
    def _file(self, position, data, number, count):
        """One of so many images, with its position from 1, as `_files` has them."""
        image = decode(data, self._max_pixels, tf.strings.format("image {} of {}", (position, count)))
        pixels, number = self._at(image.rgb, number)
        pixels = tf.cond(image.is_grey, lambda: pixels[..., :1], lambda: pixels)
        return tf.io.encode_png(tf.concat([pixels, image.alpha], axis=2)), number
