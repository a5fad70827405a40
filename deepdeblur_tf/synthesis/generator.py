"""One synthetic pair: sharp pictures, moved, averaged, and photographed, as a `Synthesis` section asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from deepdeblur_tf.config import Synthesis
from deepdeblur_tf.synthesis import camera, sensor
from deepdeblur_tf.synthesis.exposures import AVERAGED
from deepdeblur_tf.synthesis.motion import Motion, joined, path_length, random_motion, still, within_sight
from deepdeblur_tf.synthesis.rendering import Cutout, defocused, margin_of, render

Size = tuple[int, int]  # (height, width) in pixels
# From a random generator and a side in pixels to a square sharp picture, uint8 [side, side, 3].
Pictures = Callable[[np.random.Generator, int], np.ndarray]
# From a random generator and a size to a sharp picture of that size, uint8 [H, W, 3].
Background = Callable[[np.random.Generator, Size], np.ndarray]
# From a random generator and the pair's size to something cut out: uint8 [h, w, 3], and float32 [h, w] as a `Cutout`'s.
Objects = Callable[[np.random.Generator, Size], tuple[np.ndarray, np.ndarray]]

_DEFOCUS = (1.0, 12.0)  # radii in pixels of what is a little, and far out of focus
_LIGHT_STRENGTH = (2.0, 30.0)  # of lights, white being 1
_LAMPS = 20  # at most that are painted into a pair with lights
_LAMP_RADIUS = (0.6, 4.0)  # pixels
_SHARPENING = (0.2, 1.2)  # how many times detail is added
_SHARPENING_RADIUS = (0.5, 1.2)  # of what counts as detail, in pixels


def make_pair(
    random: np.random.Generator,
    settings: Synthesis,
    size: Size,
    pictures: Pictures,
    draw_background: Background | None = None,
    objects: Objects | None = None,
) -> tuple[np.ndarray, dict]:
    """Makes one pair.

    Args:
        random: The generator; the same state makes the same pair.
        settings: What kind of blur, how much of it, and what the camera adds.
        size: (height, width) of the pair in pixels.
        pictures: Where the background and the objects come from, unless the next two say otherwise.
        draw_background: Where the background comes from.
        objects: Where the objects come from, with their outlines. Of `pictures` they are cut along random ones.

    Returns:
        (uint8 [H, W, 6], the blurry image's RGB, then the sharp one's; every parameter that was drawn, as JSON has it:
        `path` are nine points (x, y) of the camera's path, equally apart in time).
    """
    is_blurred = random.random() >= settings.unblurred
    linear = bool(random.random() < settings.linear)
    exposure = float(random.uniform(0.25, 1.75)) if random.random() < settings.exposure else 1.0
    most_views = int(random.choice(AVERAGED)) if random.random() < settings.broken else None
    motion = still()
    if is_blurred:
        longest = settings.long_path if _drawn(random, settings.long) else settings.path
        length = 1 + longest * random.beta(1.2, 1.8)
        motion = within_sight(random_motion(random, length, settings.turn, settings.zoom, settings.tilt), size)
    margin = margin_of(motion, size)
    height, width = (side + 2 * margin for side in size)
    if draw_background:
        background = draw_background(random, (height, width))
    else:
        background = pictures(random, max(height, width))[:height, :width]
    is_flat = _drawn(random, settings.flat)
    if is_flat:
        background = np.broadcast_to(_colour(random), background.shape).copy()
    radius = 0.0
    if _drawn(random, settings.defocus):
        radius = float(np.exp(random.uniform(*np.log(_DEFOCUS))))
        background = defocused(background, radius)
    cutouts, object_paths = [], []
    for _ in range(random.integers(0, settings.objects + 1) if settings.objects else 0):
        own = whole = still()
        if is_blurred:
            own = random_motion(random, settings.object_path * random.beta(1, 1.8))
            whole = joined(motion, own)
        object_paths.append(path_length(own.shifts))
        cutouts.append(_cutout(random, pictures, objects, size, whole))
    is_grey = _drawn(random, settings.grey)
    if is_grey:
        background = _grey(background)
        cutouts = [replace(cutout, picture=_grey(cutout.picture)) for cutout in cutouts]
    curve, strength = None, 1.0
    if linear:
        curve = str(random.choice(settings.tone_curves)) if len(settings.tone_curves) > 1 else settings.tone_curves[0]
        light = 255 * camera.light_of_values(curve)
        if _drawn(random, settings.lights):
            strength = float(np.exp(random.uniform(*np.log(_LIGHT_STRENGTH))))
            light = camera.with_lights(light, strength)
        # Before anything is interpolated: it is light that adds up.
        background = cv2.LUT(background, light)
        cutouts = [replace(cutout, picture=cv2.LUT(cutout.picture, light)) for cutout in cutouts]
        if strength > 1 and not is_flat:
            _add_lamps(random, background, strength, is_grey)
    blurry, sharp = render(background, margin, motion, cutouts, exposure, most_views)
    noise, gains, is_demosaiced = 0.0, (1.0, 1.0), False
    if random.random() < settings.noise:
        noise = float(np.exp(random.uniform(*np.log(settings.noise_strength))))
        if _drawn(random, settings.white_balance):
            gains = (float(random.uniform(*sensor.RED_GAIN)), float(random.uniform(*sensor.BLUE_GAIN)))
        is_demosaiced = _drawn(random, settings.demosaicing)
        # What was averaged as values is light again for the noise, through GOPRO's curve.
        noisy = camera.TONE_CURVES["gamma"]
        light = blurry if linear else noisy.decode(blurry)
        light = sensor.add_noise(random, light, noise, gains, is_demosaiced)
        if is_grey:
            light = np.repeat(light[..., 1:2], 3, axis=2)
        blurry = light if linear else noisy.encode(light)
    amount, deviation = 0.0, 0.0
    if _drawn(random, settings.sharpening):
        amount, deviation = float(random.uniform(*_SHARPENING)), float(random.uniform(*_SHARPENING_RADIUS))
        values = camera.TONE_CURVES[curve].encode(blurry) if curve else blurry
        blurry = sensor.sharpened(values.astype(np.float32), amount, deviation)
    blurry, sharp = camera.quantized(blurry, None if amount else curve), camera.quantized(sharp, curve)
    quality = None
    if random.random() < settings.jpeg:
        quality = int(random.integers(settings.jpeg_quality[0], settings.jpeg_quality[1] + 1))
        blurry = camera.compress(blurry, quality)
    parameters = {
        "path_pixels": path_length(motion.shifts),
        "path": np.round(motion.shifts[:: max(1, len(motion.shifts) // 8)], 2).tolist(),
        "turn": motion.turn,
        "zoom": motion.zoom,
        "tilt": list(motion.tilt),
        "defocus_radius": radius,
        "objects": len(cutouts),
        "object_path_pixels": object_paths,
        "linear": linear,
        "tone_curve": curve,
        "light_strength": strength,
        "exposure": exposure,
        "most_views": most_views,
        "noise_strength": noise,
        "white_balance": list(gains),
        "demosaiced": is_demosaiced,
        "sharpening": [amount, deviation],
        "jpeg_quality": quality,
    }
    return np.dstack([blurry, sharp]), parameters


def _drawn(random: np.random.Generator, share: float) -> bool:
    """Whether this pair is one of a share. A share of 0 draws nothing, so that seeds give the pairs that they gave."""
    return bool(share) and bool(random.random() < share)


def _colour(random: np.random.Generator) -> np.ndarray:
    """uint8 [3]: in half of the cases a corner of the RGB cube, for those are hardest to keep, else any colour."""
    if random.random() < 0.5:
        return 255 * random.integers(0, 2, 3, np.uint8)
    return random.integers(0, 256, 3, np.uint8)


def _grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def _add_lamps(random: np.random.Generator, background: np.ndarray, strength: float, is_grey: bool) -> None:
    """Paints small lights of somewhat different sizes, brightness and, unless grey, colours into linear light."""
    height, width = background.shape[:2]
    for _ in range(random.integers(1, _LAMPS + 1)):
        x, y = random.uniform(0, width), random.uniform(0, height)
        radius = np.exp(random.uniform(*np.log(_LAMP_RADIUS)))
        reach = int(np.ceil(radius)) + 1
        left, top = max(0, int(x) - reach), max(0, int(y) - reach)
        piece = background[top : int(y) + reach + 1, left : int(x) + reach + 1]
        rows, columns = np.ogrid[top : top + piece.shape[0], left : left + piece.shape[1]]
        disc = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1).astype(np.float32)
        tint = random.uniform([0.7, 0.5, 0.25], [1, 1, 1]).astype(np.float32)  # white to orange
        lamp = np.float32(255 * random.uniform(1, strength)) * (tint[0] if is_grey else tint)
        piece += disc[..., None] * (lamp - piece)


def _cutout(
    random: np.random.Generator, pictures: Pictures, objects: Objects | None, size: Size, motion: Motion
) -> Cutout:
    """One of the objects, or a piece of a picture with a soft, irregular outline, somewhere in the image."""
    if objects:
        picture, mask = objects(random, size)
        return Cutout(picture, mask, _corner(random, mask.shape, size), motion)
    radius = random.uniform(0.08, 0.32) * min(size)
    side = int(2.5 * radius) + 10  # the outline reaches 1.25 radii from the middle, and is softened
    mask, corner = _outline(random, side, radius), _corner(random, (side, side), size)
    return Cutout(pictures(random, side), mask, corner, motion)


def _corner(random: np.random.Generator, piece: Sequence[int], size: Size) -> tuple[int, int]:
    """(x, y) of a piece whose middle is somewhere in the image."""
    half = np.array(piece[::-1]) / 2
    x, y = random.uniform(-half, np.array(size[::-1]) - half).astype(int)
    return int(x), int(y)


def _outline(random: np.random.Generator, size: int, radius: float) -> np.ndarray:
    """float32 [size, size] coverage 0 to 1 of a smooth closed shape, upright, lying or round."""
    angles = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    waves = np.arange(2, 7)
    amplitudes = random.normal(0, 0.22, (2, len(waves), 1)) / waves[:, None] * 2
    turns = waves[:, None] * angles
    outline = 0.8 + (amplitudes * np.stack([np.cos(turns), np.sin(turns)])).sum((0, 1))
    outline = radius * np.clip(outline, 0.3, 1.25)
    aspect = random.uniform(0.35, 1)
    rotation = random.choice([0, np.pi / 2, random.uniform(0, np.pi)])
    x, y = outline * np.cos(angles), aspect * outline * np.sin(angles)
    cosine, sine = np.cos(rotation), np.sin(rotation)
    points = np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=1) + size / 2
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], (255,), cv2.LINE_AA, shift=4)
    return cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), random.uniform(0.4, 1.2))
