"""What kind of pairs `synthesize` makes from photos unless settings say otherwise."""

from __future__ import annotations

from deepdeblur_tf.config import Synthesis

PROFILES = {
    # As GOPRO's `blur`: plain averages, no noise, nothing compressed.
    "gopro": Synthesis(painted=0.0),
    # As photographs: in RSBlur's table (Rim et al., ECCV 2022) noise brought the most on them, then linear light.
    "photo": Synthesis(painted=0.0, unblurred=0.1, linear=1.0, exposure=0.25, noise=1.0, jpeg=0.5),
}
