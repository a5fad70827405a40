"""Any image through a network: whole where memory allows, in overlapping tiles where it does not."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from deepdeblur_tf.compat import tf
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images.deep import to_8_bits
from deepdeblur_tf.images.grey import is_grey, without_colours
from deepdeblur_tf.memory import is_shortage, memory_budget
from deepdeblur_tf.model import run_network, settings_of, to_levels, to_network, to_uint8, to_uint16
from deepdeblur_tf.pyramid import PADDING
from deepdeblur_tf.restoration.scale import SCALES, add_enlarged, best_scale, relative_change, shrunk
from deepdeblur_tf.restoration.tiling import GRID, spans, tile_shape

# Beyond its own border a tile knows nothing of the image. The largest difference from the untiled image, in steps of
# 255, at overlaps of 16, 32, 48, 64, 96 and 128 pixels, on whole frames of 1280x720: 47, 26, 9, 3, 1 and 1 for
# `photographs`; networks at full resolution see less far. By `python -m experiments.benchmarks.tiles MODEL IMAGE`.
OVERLAP = 96

_MEASURED = 1024  # pixels: what a restoration changed is measured on a square of this side in the middle

RUNTIMES = ("tensorflow", "openvino", "openvino_bfloat16")


class NonFiniteOutput(UserError):
    """A network that makes no numbers of an image."""


def restoring_graph(network: tf.keras.Model, dtype=tf.uint8) -> tf.types.experimental.GenericFunction:
    """The network as one graph, from images to every level restored; traced once for all sizes.

    Run layer by layer from Python instead, Keras 3 would keep every activation until the end.

    Args:
        network: Of `build_model` or `load_model`. It keeps the graph, and both are let go together.
        dtype: Of the images: uint8, or uint16, which the finest level keeps.

    Returns:
        A `tf.function` from [N, H, W, 3] to a list of float32 [N, H', W', 3], [N, H' / 2, W' / 2, 3], ...,
        finest first, in [-0.5, 0.5]. H' and W' are H and W rounded up to multiples of 2 ** (levels - 1).
    """
    kept = vars(network)  # not by setattr: Keras would save the graph with the network
    name = f"_restoring_graph_{tf.as_dtype(dtype).name}"
    if name not in kept:
        settings = settings_of(network)

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], dtype)], autograph=False)
        def restored(image):
            return run_network(network, to_levels(image, settings.levels, settings.pyramid), training=False)

        kept[name] = restored
    return kept[name]


def bytes_per_pixel(network: tf.keras.Model, runtime: str = "tensorflow") -> int:
    """The memory that a restoration takes for each pixel of the image."""
    # Measured as the growth of the process's peak memory on both stacks: 747, 415 and 214 bytes for 64, 32 and 16
    # filters, about three float32 outputs; the pyramid takes 139 bytes for all networks. OpenVINO: 1070 and 648 bytes
    # for 64 and 32 filters, in bfloat16 677 and 462. At half the resolution (shuffle_input 2): 137, 166, 213, 269 and
    # 438 bytes for 16, 32, 48, 64 and 128 filters; where coarser levels are wider (widening 2), 203 for 32, at full
    # resolution 451. Passing features adds at most 7.
    settings = settings_of(network)
    convolutions = [layer for layer in network.layers if not layer.name.endswith("_features")]
    # A depthwise convolution has None for its filters.
    widest = max(getattr(layer, "filters", None) or 0 for layer in convolutions)
    filters = widest // settings.widening ** (settings.levels - 1)
    halved = 100 + filters * (8 + 3 * settings.widening) // 4
    tensorflow = max(160, 15 * filters) if settings.shuffle_input == 1 else halved
    return tensorflow + (0 if runtime == "tensorflow" else 230)


def _mean_of_eight_views(image: np.ndarray, restored) -> list[np.ndarray]:
    """The mean of what `restored` makes of an image's four rotations and their mirror images, rotated back."""
    sums = None
    for quarters, flip in itertools.product(range(4), (False, True)):
        view = np.rot90(image[:, ::-1] if flip else image, quarters)
        levels = [np.rot90(level, -quarters) for level in restored(view)]
        levels = [level[:, ::-1] for level in levels] if flip else levels
        sums = levels if sums is None else [total + level for total, level in zip(sums, levels)]
    return [total / np.float32(8) for total in sums]


class Restorer:
    """A network, and how it restores images of any size.

    An image is continued by mirroring to a multiple of 4, shrunk with the in-graph pyramid (MATLAB's `imresize`, bit by
    bit; or as the network's setting `pyramid` says), run through the network, and cut back. Where the whole of it would
    take more than `memory`, it is cut into overlapping tiles, each restored by itself; should memory run out all the
    same, into smaller ones.

    Args:
        model: A network of `build_model` or `load_model`.
        tile: int. Side of square tiles in pixels, a multiple of 4, overlap included; rounded up to a multiple of 8 for
            a network with `shuffle_input` 2. Defaults to the largest that `memory` allows.
        overlap: int. Pixels around what is kept of a tile, a multiple of 4. Defaults to 96.
        memory: int. Bytes that the network may use at once. Defaults to half of what is available (on a GPU 4 GiB).
        self_ensemble: bool. Whether to average over the image's four rotations and their mirror images (the "geometric
            self-ensemble" of Lim et al., EDSR, CVPRW 2017, section 3.4): eight times as slow. Defaults to False.
        runtime: "tensorflow"; "openvino" (the extra of that name), with equal results; or "openvino_bfloat16", several
            times as fast on CPUs with units for bfloat16 (AMX) and off by 1 or 2 of 255 in a few pixels of a hundred.
            OpenVINO keeps the weights that the network has now. Defaults to "tensorflow".
        scale: 1, 0.5, 0.25 or 0.125, at which images are restored; what changes there is added, enlarged, to the image
            at its full size. Or "auto", for each image the one at which its blur is within the network's reach; see
            `scale.best_scale`. Defaults to "auto".

    Attributes:
        model: The network.
        tiles: int. How many tiles the last image was restored in, 1 for an image restored whole; 0 before the first.
        scale: float. The scale at which the last image was restored.
        change: float. How much of it was changed, relatively; see `scale.relative_change`.

    Raises:
        UserError: for a value that is not allowed, or a runtime that is not installed.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        tile: int | None = None,
        overlap: int = OVERLAP,
        memory: int | None = None,
        self_ensemble: bool = False,
        runtime: str = "tensorflow",
        scale: float | str = "auto",
    ):
        if overlap < 0 or overlap % GRID:
            raise UserError(f"overlap must be a multiple of {GRID} pixels, 0 or more. Received: overlap={overlap!r}")
        if tile is not None and (tile % GRID or tile <= 2 * overlap):
            raise UserError(
                f"tile must be a multiple of {GRID} pixels above twice the overlap of {overlap}. Received: "
                f"tile={tile!r}"
            )
        if memory is not None and memory <= 0:
            raise UserError(f"memory must be a number of bytes above 0. Received: memory={memory!r}")
        if runtime not in RUNTIMES:
            raise UserError(f"runtime must be one of {', '.join(RUNTIMES)}. Received: runtime={runtime!r}")
        if scale not in ("auto", *SCALES):
            allowed = ", ".join(f"{known:g}" for known in SCALES)
            raise UserError(f"scale must be auto or one of {allowed}. Received: scale={scale!r}")
        self.model, self.tiles, self.scale, self.change = model, 0, 1.0, 0.0
        self._scale = scale
        self._tile, self._overlap, self._memory, self._self_ensemble = tile, overlap, memory, self_ensemble
        self._runtime, self._openvino = runtime, None
        if runtime != "tensorflow":
            from deepdeblur_tf.restoration.openvino import openvino_network

            self._openvino = openvino_network(model, "bf16" if runtime == "openvino_bfloat16" else "f32")

    def __call__(
        self, image_uint8, progress: Callable[[float], None] | None = None, scale: float | None = None
    ) -> np.ndarray:
        """Restores an image.

        Args:
            image_uint8: uint8 [H, W, 3], RGB, 1x1 pixels and more; or uint16, of which the finest level keeps all bits.
            progress: Called after each tile with the fraction that is done, 0 to 1.
            scale: One of `SCALES`, as for the frames of a video, which are all restored at one. Defaults to `scale_of`.

        Returns:
            [H, W, 3] of the same dtype; of an image without colours one without colours.

        Raises:
            ValueError: for another shape or dtype.
            NonFiniteOutput: what the network makes of it is no finite number.
            MemoryError: not even the smallest tile fits.
        """
        image = np.asarray(image_uint8)
        self._refuse_others(image)
        rounded = to_8_bits(image)
        self.scale = self.scale_of(rounded) if scale is None else scale
        small = shrunk(rounded, self.scale)
        height, width = small.shape[:2]
        if self.scale == 1:
            to_pixels = to_uint16 if image.dtype == np.uint16 else to_uint8
            (result,) = self._restored(image, progress, lambda levels: [to_pixels(levels[0]).numpy()])
            result = result[:height, :width]
        else:
            (finest,) = self._restored(small, progress, lambda levels: levels[:1])
            finest = np.clip(finest[:height, :width], np.float32(-0.5), np.float32(0.5))
            result = add_enlarged(image, finest - to_network(small).numpy(), self.scale)
        top, left = (max(0, side - _MEASURED) // 2 for side in (height, width))
        middle = np.s_[top : top + _MEASURED, left : left + _MEASURED]
        restored = to_8_bits(result[middle]) if self.scale == 1 else 255 * (finest[middle] + np.float32(0.5))
        self.change = relative_change(small[middle], restored)
        return without_colours(result) if is_grey(image) else result

    def scale_of(self, image_uint8) -> float:
        """The scale at which an image is restored: the one that was asked for, or with "auto" the best.

        Args:
            image_uint8: uint8 or uint16 [H, W, 3], RGB.
        """
        if self._scale != "auto":
            return float(self._scale)
        self._refuse_others(image_uint8)
        return best_scale(to_8_bits(image_uint8), lambda crop: 255 * (self._run(crop)[0] + np.float32(0.5)))

    @staticmethod
    def _refuse_others(image) -> None:
        if image.dtype not in (np.uint8, np.uint16) or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"restore takes uint8 or uint16 [H, W, 3]. Received: {image.dtype} {list(image.shape)}")

    def levels(self, image_uint8, progress: Callable[[float], None] | None = None) -> list[np.ndarray]:
        """Every level of the network's output at scale 1 as it is, for its loss to be measured.

        Args, raises: As `__call__`.

        Returns:
            float32 [H', W', 3], [H' / 2, W' / 2, 3], ..., finest first, in [-0.5, 0.5] but neither clipped nor
            rounded; H' and W' are H and W rounded up to multiples of 2 ** (levels - 1).
        """
        return self._restored(image_uint8, progress, lambda levels: levels)

    def _restored(self, image, progress, convert) -> list[np.ndarray]:
        """The levels at their padded sizes; each tile's list of levels passes through `convert`."""
        image = np.asarray(image)
        self._refuse_others(image)
        settings = settings_of(self.model)
        multiple, grid = 2 ** (settings.levels - 1), GRID * settings.shuffle_input
        # Continued here, and not only in the graph, so that all rotations of the self-ensemble lie on one grid.
        sides = [(0, -side % multiple) for side in image.shape[:2]]
        image = np.pad(image, [*sides, (0, 0)], PADDING[settings.pyramid])
        height, width = image.shape[:2]
        if self._tile is None:
            budget = memory_budget() if self._memory is None else self._memory
            pixels = budget // bytes_per_pixel(self.model, self._runtime)
            shape = tile_shape(height, width, pixels, self._overlap, grid)
        else:
            tile = -(-self._tile // grid) * grid
            shape = (min(tile, height), min(tile, width))
        while True:
            try:
                return self._in_tiles(image, shape, grid, progress, convert)
            except (tf.errors.OpError, MemoryError) as error:
                if not is_shortage(error):
                    raise
                smaller = tile_shape(height, width, shape[0] * shape[1] // 4, self._overlap, grid)
                if self._tile is not None or smaller == shape:
                    advice = "Close other programs." if self._tile is None else "Give a smaller tile."
                    raise MemoryError(
                        f"not enough memory to restore {shape[1]}x{shape[0]} pixels at once. {advice}"
                    ) from error
                shape = smaller

    def _in_tiles(self, image: np.ndarray, shape: tuple[int, int], grid: int, progress, convert) -> list[np.ndarray]:
        height, width = image.shape[:2]
        all_rows, all_columns = (spans(side, tile, self._overlap, grid) for side, tile in zip((height, width), shape))
        self.tiles = len(all_rows) * len(all_columns)
        whole: list[np.ndarray] = []
        for rows, columns in itertools.product(all_rows, all_columns):
            pixels = image[rows.start : rows.stop, columns.start : columns.stop]
            levels = _mean_of_eight_views(pixels, self._run) if self._self_ensemble else self._run(pixels)
            with np.errstate(invalid="ignore"):
                is_finite = all(np.isfinite(np.sum(level, dtype=np.float64)) for level in levels)
            if not is_finite:
                raise NonFiniteOutput(
                    "the network's output is no finite number (NaN or infinity), which would be a black picture. Give "
                    "another network."
                )
            tile = convert(levels)
            if not whole:
                whole = [np.empty((height >> k, width >> k, 3), level.dtype) for k, level in enumerate(tile)]
            for k, level in enumerate(tile):
                whole[k][rows.kept(k), columns.kept(k)] = level[rows.within(k), columns.within(k)]
            if progress is not None:
                progress((rows.first * width + (rows.end - rows.first) * columns.end) / (height * width))
        return whole

    def _run(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Every level of one tile."""
        if self._openvino is not None:
            levels = self._openvino(pixels[None])
        else:
            levels = [level.numpy() for level in restoring_graph(self.model, pixels.dtype)(pixels[None])]
        return [level[0] for level in levels]


def restore(
    model: tf.keras.Model,
    image_uint8,
    tile: int | None = None,
    overlap: int = OVERLAP,
    memory: int | None = None,
    self_ensemble: bool = False,
    progress: Callable[[float], None] | None = None,
    runtime: str = "tensorflow",
    scale: float | str = "auto",
) -> np.ndarray:
    """Restores a blurry image of any size. The short way to use a `Restorer`.

    Args:
        model: A network of `build_model` or `load_model`.
        image_uint8: uint8 [H, W, 3], RGB, 1x1 pixels and more; or uint16, of which the finest level keeps all bits.
        tile, overlap, memory, self_ensemble, runtime, scale: As `Restorer` has them. OpenVINO is set up anew for each
            call; for many images make one `Restorer`.
        progress: Called after each tile with the fraction that is done, 0 to 1.

    Returns:
        [H, W, 3] of the same dtype.

    Raises:
        UserError: for an option that is not allowed.
        ValueError: for another shape or dtype.
        MemoryError: not even the smallest tile fits.

    Example:
        >>> import numpy as np
        >>> import deepdeblur_tf
        >>> network = deepdeblur_tf.build_model(blocks=1, filters=4, global_skip=True)  # untrained, it changes nothing
        >>> blurry = np.full((50, 70, 3), 100, np.uint8)
        >>> restored = deepdeblur_tf.restore(network, blurry)
        >>> restored.shape, bool((restored == blurry).all())
        ((50, 70, 3), True)
    """
    return Restorer(model, tile, overlap, memory, self_ensemble, runtime, scale)(image_uint8, progress)
