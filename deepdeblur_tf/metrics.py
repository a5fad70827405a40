"""Image quality as the report measured it: RGB, whole image, one number per image.

Every function takes two images or batches of one shape, [H, W, 3] or [N, H, W, 3], uint8 or float in [0, 1]. Floats
are clipped and rounded to 8 bits first, for that is what a saved picture holds. They are tensors in, tensors out, and
run inside a graph as well as on NumPy arrays. All are float64 throughout: `tf.image.ssim` averages its map in float32,
which is off by up to 2e-3 on a 1280x720 image.

Two numbers are called SSIM in this field. `ssim` is that of Wang et al. (2004) per channel, as scikit-image and the
report have it; `ssim_matlab` is what MATLAB's `ssim` makes of an RGB array, which most published GOPRO tables show and
which is some 0.04 to 0.09 higher. They cannot be compared.

Another metric is a function here and its line in `METRICS`: evaluations, their tables and model cards show it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from deepdeblur_tf.compat import tf

_RADIUS, _SIGMA = 5, 1.5  # Wang et al.: an 11x11 Gaussian
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

# Wang, Simoncelli, Bovik: Multi-scale structural similarity for image quality assessment, 2003.
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

SSIM_SMALLEST = 2 * _RADIUS + 1
MS_SSIM_SMALLEST = _RADIUS * 2 ** len(_MS_SSIM_WEIGHTS) + 1  # halved four times, rounding up, 11 pixels are left


def _eight_bit(image):
    """Values 0 to 255 as float64."""
    image = tf.convert_to_tensor(image)
    if image.dtype == tf.uint8:
        return tf.cast(image, tf.float64)
    if not image.dtype.is_floating:
        raise ValueError(f"metrics take uint8 or float images. Received: dtype {image.dtype.name}")
    return tf.round(tf.clip_by_value(tf.cast(image, tf.float64), 0.0, 1.0) * 255.0)


def _pair(a, b, smallest: int = 1):
    """Both images as float64 [..., H, W, 3] with values 0 to 255, checked."""
    a, b = _eight_bit(a), _eight_bit(b)
    if a.shape.rank not in (3, 4) or a.shape[-1] != 3 or not a.shape.is_compatible_with(b.shape):
        raise ValueError(
            f"metrics take two images of one shape, [H, W, 3] or [N, H, W, 3]. Received: {a.shape} and {b.shape}"
        )
    if any(side is not None and side < smallest for side in a.shape[-3:-1]):
        raise ValueError(f"height and width must be at least {smallest} pixels. Received: {a.shape}")
    return a, b


def psnr(a, b):
    """Peak signal-to-noise ratio, 10 log10(255^2 / MSE).

    Args:
        a: uint8 or float [0, 1], [H, W, 3] or [N, H, W, 3].
        b: The same shape.

    Returns:
        float64 in dB, scalar or [N]; infinite for equal images.

    Raises:
        ValueError: for another dtype or shape.

    Example:
        >>> import numpy as np
        >>> from deepdeblur_tf import metrics
        >>> sharp = np.indices((192, 192, 3)).sum(axis=0).astype(np.uint8) // 16 * 16
        >>> blurry = sharp // 2 + np.roll(sharp, 4, axis=1) // 2
        >>> print(metrics.psnr(np.stack([blurry, sharp]), np.stack([sharp, sharp])).numpy().round(2))
        [23.49   inf]
    """
    a, b = _pair(a, b)
    error = tf.reduce_mean(tf.square(a - b), axis=[-3, -2, -1])
    return 10.0 * tf.math.log(255.0**2 / error) / tf.math.log(tf.constant(10.0, tf.float64))


def _windowed(image):
    """The Gaussian's mean around every pixel whose window lies within the image: [N, H - 10, W - 10, 3]."""
    taps = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    taps = np.tile((taps / taps.sum())[:, None, None, None], (1, 1, 3, 1))
    rows = tf.nn.depthwise_conv2d(image, taps, [1, 1, 1, 1], "VALID")
    return tf.nn.depthwise_conv2d(rows, taps.transpose(1, 0, 2, 3), [1, 1, 1, 1], "VALID")


def _similarity(a, b, windowed):
    """The maps of SSIM and of its contrast-structure factor (Wang et al. 2004, equations 12 and 13)."""
    mean_a, mean_b = windowed(a), windowed(b)
    squares, product = tf.square(mean_a) + tf.square(mean_b), mean_a * mean_b
    variances = windowed(tf.square(a) + tf.square(b)) - squares
    covariance = windowed(a * b) - product
    contrast_structure = (2 * covariance + _C2) / (variances + _C2)
    return (2 * product + _C1) / (squares + _C1) * contrast_structure, contrast_structure


def _batched(a, b):
    return (a[None], b[None]) if a.shape.rank == 3 else (a, b)


def ssim(a, b):
    """Structural similarity (Wang et al. 2004), per channel, averaged over pixels and channels.

    An 11x11 Gaussian of sigma 1.5, only where it lies within the image, K1 = 0.01, K2 = 0.03, population covariance:
    scikit-image's `structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    channel_axis=-1, data_range=255)`.

    Args:
        a: uint8 or float [0, 1], [H, W, 3] or [N, H, W, 3], at least 11x11 pixels.
        b: The same shape.

    Returns:
        float64, scalar or [N].

    Raises:
        ValueError: for another dtype or shape, and for smaller images.

    Example:
        >>> import numpy as np
        >>> from deepdeblur_tf import metrics
        >>> sharp = np.indices((192, 192, 3)).sum(axis=0).astype(np.uint8) // 16 * 16
        >>> blurry = sharp // 2 + np.roll(sharp, 4, axis=1) // 2
        >>> print(metrics.ssim(np.stack([blurry, sharp]), np.stack([sharp, sharp])).numpy().round(4))
        [0.8757 1.    ]
    """
    a, b = _pair(a, b, SSIM_SMALLEST)
    full, _ = _similarity(*_batched(a, b), _windowed)
    values = tf.reduce_mean(full, axis=[1, 2, 3])
    return values[0] if a.shape.rank == 3 else values


def ssim_matlab(a, b):
    """What MATLAB's `ssim` gives for RGB arrays: the image taken for a volume of H x W x 3 voxels.

    The window is an 11x11x11 Gaussian of sigma 1.5 over rows, columns and the three colours, the border repeated in
    each direction, averaged over all voxels. It mixes the colours and is no SSIM of a picture, but most GOPRO tables
    show it (Nah et al., SRN, DMPHN, MPRNet, Restormer, NAFNet).

    Args:
        a: uint8 or float [0, 1], [H, W, 3] or [N, H, W, 3].
        b: The same shape.

    Returns:
        float64, scalar or [N].

    Raises:
        ValueError: for another dtype or shape.

    Example:
        >>> import numpy as np
        >>> from deepdeblur_tf import metrics
        >>> sharp = np.indices((192, 192, 3)).sum(axis=0).astype(np.uint8) // 16 * 16
        >>> blurry = sharp // 2 + np.roll(sharp, 4, axis=1) // 2
        >>> print(metrics.ssim_matlab(np.stack([blurry, sharp]), np.stack([sharp, sharp])).numpy().round(4))
        [0.8584 1.    ]
    """
    a, b = _pair(a, b)
    # Along the three colours the same filter is a 3x3 matrix.
    colours = ndimage.gaussian_filter1d(np.eye(3), _SIGMA, mode="nearest", radius=_RADIUS)

    def windowed(image):
        for axis in (1, 2):
            size = tf.shape(image)[axis]
            image = tf.gather(image, tf.clip_by_value(tf.range(-_RADIUS, size + _RADIUS), 0, size - 1), axis=axis)
        return tf.einsum("nhwc,cd->nhwd", _windowed(image), colours)

    full, _ = _similarity(*_batched(a, b), windowed)
    values = tf.reduce_mean(full, axis=[1, 2, 3])
    return values[0] if a.shape.rank == 3 else values


def ms_ssim(a, b):
    """Multi-scale structural similarity (Wang et al. 2003), per channel, averaged over the channels.

    Five scales with the paper's weights, each half of the one before by 2x2 means; as `tf.image.ssim_multiscale`, but
    averaged in float64.

    Args:
        a: uint8 or float [0, 1], [H, W, 3] or [N, H, W, 3], at least 161x161 pixels.
        b: The same shape.

    Returns:
        float64, scalar or [N].

    Raises:
        ValueError: for another dtype or shape, and for smaller images, of which the coarsest scale would be smaller
            than the window.

    Example:
        >>> import numpy as np
        >>> from deepdeblur_tf import metrics
        >>> sharp = np.indices((192, 192, 3)).sum(axis=0).astype(np.uint8) // 16 * 16
        >>> blurry = sharp // 2 + np.roll(sharp, 4, axis=1) // 2
        >>> print(metrics.ms_ssim(np.stack([blurry, sharp]), np.stack([sharp, sharp])).numpy().round(4))
        [0.953 1.   ]
    """
    a, b = _pair(a, b, MS_SSIM_SMALLEST)
    rank = a.shape.rank
    a, b = _batched(a, b)
    product = 1.0
    for scale, weight in enumerate(_MS_SSIM_WEIGHTS, 1):
        full, contrast_structure = _similarity(a, b, _windowed)
        last = scale == len(_MS_SSIM_WEIGHTS)
        # A negative mean has no real power.
        similarity = tf.nn.relu(tf.reduce_mean(full if last else contrast_structure, axis=[1, 2]))
        product *= similarity**weight
        if not last:  # an odd side's last row is averaged with itself, which "SAME" does by leaving the padding out
            a, b = (tf.nn.avg_pool2d(image, 2, 2, "SAME") for image in (a, b))
    values = tf.reduce_mean(product, axis=1)
    return values[0] if rank == 3 else values


class Metric(NamedTuple):
    """What evaluations measure of each image.

    Attributes:
        title: In tables.
        digits: Behind the point.
        convention: How it is measured, for a reader.
        of: From (image, sharp), uint8 [H, W, 3], to the figure; None for the loss, which needs all levels.
        smallest: Images with a side below so many pixels have no figure.
        lower_is_better: Whether less is better.
    """

    title: str
    digits: int
    convention: str
    of: Callable | None = None
    smallest: int = 1
    lower_is_better: bool = False


METRICS = {
    "loss": Metric(
        "Loss",
        5,
        "sum over the levels of the mean squared error in [-0.5, 0.5], before clipping and rounding",
        lower_is_better=True,
    ),
    "psnr": Metric("PSNR (dB)", 2, "peak 255, over all pixels and channels; infinite for equal images", psnr),
    "ssim": Metric(
        "SSIM",
        4,
        "per channel: 11x11 Gaussian, sigma 1.5, inside the image, K1 0.01, K2 0.03 (scikit-image, the report)",
        ssim,
        SSIM_SMALLEST,
    ),
    "ms_ssim": Metric("MS-SSIM", 4, "five scales, per channel (Wang et al. 2003)", ms_ssim, MS_SSIM_SMALLEST),
    "ssim_matlab": Metric(
        "SSIM, MATLAB on RGB",
        4,
        "MATLAB's ssim on RGB arrays: 11x11x11 Gaussian, border repeated (most GOPRO tables)",
        ssim_matlab,
    ),
}
