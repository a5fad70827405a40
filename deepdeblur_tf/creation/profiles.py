"""What kind of pairs `synthesize` makes from photos unless settings say otherwise."""

from __future__ import annotations

from deepdeblur_tf.config import Synthesis

PROFILES = {
    # As GOPRO's `blur`: plain averages, no noise, nothing compressed.
    "gopro": Synthesis(painted=0.0),
    # As a camera's files: in RSBlur's table (Rim et al., ECCV 2022) noise brought the most on them, then the whole of
    # the camera.
    "camera": Synthesis(
        painted=0.0,
        unblurred=0.1,
        linear=1.0,
        tone_curves=["gamma", "srgb", "s_curve"],
        lights=0.1,
        exposure=0.25,
        noise=1.0,
        white_balance=1.0,
        demosaicing=1.0,
        sharpening=0.5,
        jpeg=0.5,
    ),
}
