import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2", reason="the extra `synthesis` is not installed")

from scipy import ndimage  # noqa: E402

from deepdeblur_tf.config import Synthesis  # noqa: E402
from deepdeblur_tf.creation.profiles import PROFILES  # noqa: E402
from deepdeblur_tf.synthesis.camera import TONE_CURVES, light_of_values, quantized, with_lights  # noqa: E402
from deepdeblur_tf.synthesis.generator import _cutout, make_pair  # noqa: E402
from deepdeblur_tf.synthesis.motion import (  # noqa: E402
    Motion,
    joined,
    path_length,
    random_motion,
    smooth_path,
    still,
    within_sight,
)
from deepdeblur_tf.synthesis.pictures import Pictures, reduced  # noqa: E402
from deepdeblur_tf.synthesis.rendering import (  # noqa: E402
    Cutout,
    defocused,
    margin_of,
    render,
    view_counts,
    view_times,
)
from deepdeblur_tf.synthesis.sensor import READ, SHOT, add_noise, demosaiced, mosaic, sharpened  # noqa: E402


def point_of_light(motion, side=96, most_views=None):
    """What a camera makes of a single bright point in the middle."""
    margin = margin_of(motion, (side, side))
    background = np.zeros((side + 2 * margin, side + 2 * margin, 3), np.uint8)
    background[margin + side // 2, margin + side // 2] = 255
    blurry, sharp = render(background, margin, motion, most_views=most_views)
    return blurry[..., 0], sharp[..., 0]


@pytest.mark.parametrize("length", [0.5, 3, 17.5, 40])
def test_a_path_is_as_long_as_asked_and_passes_through_the_middle(random, length):
    path = smooth_path(random, length)
    assert path_length(path) == pytest.approx(length)
    np.testing.assert_array_equal(path[len(path) // 2], 0)


@pytest.mark.parametrize("seed", range(6))
def test_a_point_of_light_draws_the_path(seed):
    random = np.random.default_rng(seed)
    motion = random_motion(random, 24.0)
    streak, sharp = point_of_light(motion)
    assert sharp[48, 48] == 1 and np.count_nonzero(sharp) == 1
    assert streak.sum() == pytest.approx(1, abs=0.02)  # no light is lost
    _, pieces = ndimage.label(streak > 0, np.ones((3, 3)))
    assert pieces == 1
    # Each point of the path shines, and nothing that is farther than a pixel from it.
    x, y = (motion.shifts + 48).T
    assert ndimage.map_coordinates(streak, [y, x], order=1).min() > 0.1 / 24
    rows, columns = np.nonzero(streak)
    distances = np.hypot(rows[:, None] - y, columns[:, None] - x).min(axis=1)
    assert distances.max() < 1.5


def test_a_straight_streaks_length_in_pixels():
    times = np.linspace(-1, 1, 3)
    for length in (4, 9, 30):
        motion = Motion(times, np.outer(times * length / 2, [1, 0]))
        streak, _ = point_of_light(motion)
        profile = streak.sum(axis=0)
        # Its width, were it as bright everywhere as at its brightest: the path, and the two halves of the point itself.
        assert profile.sum() / profile.max() == pytest.approx(length + 0.5, abs=0.8)


@pytest.mark.parametrize("kind", ["turn", "zoom", "tilt"])
def test_the_corners_move_as_the_motion_says(kind):
    value = {"turn": 0.05, "zoom": 0.04, "tilt": (2e-4, 0.0)}[kind]
    motion = Motion(np.array([-1.0, 1.0]), np.zeros((2, 2)), **{kind: value})
    corner = motion.homographies([1.0], (48, 48))[0] @ [96, 96, 1]
    x, y = corner[:2] / corner[2] - 48
    expected = {
        "turn": (48 * np.cos(0.05) - 48 * np.sin(0.05), 48 * np.sin(0.05) + 48 * np.cos(0.05)),
        "zoom": (48 * 1.04, 48 * 1.04),
        "tilt": (48 / (1 + 48 * 2e-4), 48 / (1 + 48 * 2e-4)),
    }[kind]
    assert (x, y) == pytest.approx(expected)


def test_views_are_at_most_a_pixel_apart(random):
    for _ in range(20):
        motions = [random_motion(random, random.uniform(1, 60), turn=0.03, zoom=0.02) for _ in range(3)]
        for motion, count in zip(motions, view_counts(motions, (128, 128))):
            homographies = motion.homographies(view_times(count), (64, 64))
            for corner in ([0, 0, 1], [128, 128, 1]):
                positions = homographies @ corner
                positions = positions[:, :2] / positions[:, 2:]
                assert count == 1 or np.linalg.norm(np.diff(positions, axis=0), axis=1).max() < 1.05


def test_few_views_leave_a_broken_streak():
    """As GOPRO's frames do: each of 9 views shows the point once, equally far from the next."""
    motion = Motion(np.array([-1.0, 1.0]), np.array([[-32.0, 0], [32, 0]]))
    streak, sharp = point_of_light(motion, most_views=9)
    np.testing.assert_array_equal(np.nonzero(streak[48])[0], 48 + 8 * np.arange(-4, 5))
    np.testing.assert_allclose(streak[streak > 0], 1 / 9, rtol=1e-5)
    assert np.count_nonzero(sharp) == 1


def test_an_object_covers_the_ground_as_much_as_its_mask_says():
    """Half covered pixels are the mean of both; a slow object's view goes with several of a fast background's."""
    background = np.full((44, 44, 3), 40, np.uint8)
    mask = np.zeros((20, 20), np.float32)
    mask[2:-2, 2:-2] = 0.5
    mask[6:-6, 6:-6] = 1
    cutout = Cutout(np.full((20, 20, 3), 200, np.uint8), mask, (10, 10), still())
    blurry, sharp = render(background, 2, Motion(np.array([-1.0, 1.0]), np.array([[-2.0, 0], [2, 0]])), [cutout])
    np.testing.assert_array_equal(quantized(blurry, None), quantized(sharp, None))
    expected = 40 + 160 * np.pad(mask, 10)
    assert np.abs(quantized(sharp, None)[..., 0] - expected).max() <= 1


def test_nothing_moves_in_a_still_exposure(random):
    background = random.integers(0, 256, (44, 52, 3), dtype=np.uint8)
    blurry, sharp = render(background, 2, still())
    np.testing.assert_array_equal(quantized(blurry, None), background[2:-2, 2:-2])
    np.testing.assert_array_equal(blurry, sharp)


def test_linear_light_is_brighter_than_the_mean_of_8_bit_values(random):
    motion = Motion(np.array([-1.0, 1.0]), np.array([[-8.0, 0], [8, 0]]))
    margin = margin_of(motion, (32, 32))
    background = np.zeros((32 + 2 * margin, 32 + 2 * margin, 3), np.uint8)
    # Lines farther apart than the streak: each pixel is lit for about 1/16 of the time or never.
    background[:, ::32] = 255
    plain = quantized(render(background, margin, motion)[0], None)
    light = 255 * light_of_values("gamma")[background]
    linear = quantized(render(light, margin, motion)[0], "gamma")
    lit = plain[16, :, 0] > 5
    fraction = plain[16, lit, 0].mean() / 255
    assert linear[16, lit, 0].mean() / 255 == pytest.approx(fraction ** (1 / 2.2), rel=0.06)


def test_an_exposure_above_1_saturates():
    background = np.full((20, 20, 3), 200, np.uint8)
    blurry, sharp = render(background, 2, still(), exposure=1.5)
    assert blurry.max() == sharp.max() == 1


@pytest.mark.parametrize("light", [0.0, 0.2, 0.8])
def test_noise_has_the_published_variance(random, light):
    noisy = add_noise(random, np.full((400, 400, 3), light, np.float32), 1.0)
    inside = noisy[noisy > 0]
    expected = np.sqrt(SHOT * light + READ**2)
    if light:
        assert inside.std() == pytest.approx(expected, rel=0.02)
    else:  # clipped at 0: half a normal distribution is left
        assert inside.mean() == pytest.approx(expected * np.sqrt(2 / np.pi), rel=0.02)


def test_black_stays_nearly_black_in_noise(random):
    """The authors' code adds a normal deviate times READ: the mean of what is left above 0 is 0.4 of that."""
    noisy = add_noise(random, np.zeros((400, 400, 3), np.float32), 1.0)
    assert 255 * np.mean(noisy ** (1 / 2.2)) < 1.5


def test_noise_goes_through_the_white_balance(random):
    """Red reaches the sensor weaker by its gain, and its noise is multiplied by it."""
    light, gain = 0.3, 2.0
    noisy = add_noise(random, np.full((400, 400, 3), light, np.float32), 1.0, gains=(gain, 1.0))
    assert noisy[..., 0].std() == pytest.approx(gain * np.sqrt(SHOT * light / gain + READ**2), rel=0.02)
    assert noisy[..., 1].std() == pytest.approx(np.sqrt(SHOT * light + READ**2), rel=0.02)
    assert noisy.mean(axis=(0, 1)) == pytest.approx([light] * 3, abs=1e-3)


def test_demosaiced_noise_is_not_white(random):
    noisy = add_noise(random, np.full((400, 400, 3), 0.3, np.float32), 1.0, demosaicing=True) - 0.3
    plain = add_noise(random, np.full((400, 400, 3), 0.3, np.float32), 1.0) - 0.3
    beside = [np.mean(noise[:, 1:] * noise[:, :-1]) / np.mean(noise**2) for noise in (noisy, plain)]
    assert beside[0] > 0.15 and abs(beside[1]) < 0.01


def test_the_white_balance_comes_before_demosaicing(random):
    """What reaches red from green, by Malvar's weights, is not multiplied by red's gain."""
    gain, light = 2.1, 0.3
    noisy = add_noise(random, np.full((600, 600, 3), light, np.float32), 1.0, gains=(gain, 1.0), demosaicing=True)
    red, green = gain**2 * (SHOT * light / gain + READ**2), SHOT * light + READ**2
    between = noisy[::2, 1::2, 0]  # in a row of red and green
    weights_of_green = (5**2 + 4 * 1 + 2 * 0.5**2 + 2 * 1) / 64
    assert between.var() == pytest.approx(2 * (4 / 8) ** 2 * red + weights_of_green * green, rel=0.03)
    assert noisy[::2, ::2, 0].var() == pytest.approx(red, rel=0.03)


@pytest.mark.parametrize("demosaicing", [False, True])
def test_what_is_white_stays_so(random, demosaicing):
    light = np.full((64, 64, 3), 0.5, np.float32)
    light[:, 32:] = 1
    noisy = add_noise(random, light, 20.0, gains=(2.1, 1.7), demosaicing=demosaicing)
    assert (noisy[:, 32:] == 1).all() and noisy[:, :32].std() > 0.02


def test_demosaicing_reproduces_what_is_linear_and_keeps_what_was_measured(random):
    """Malvar's filters are exact for slopes that all colours share."""
    rows, columns = np.mgrid[:24, :32].astype(np.float32)
    slope = np.dstack([rows + 2 * columns + offset for offset in (5, 0, -3)])
    np.testing.assert_allclose(demosaiced(mosaic(slope))[4:-4, 4:-4], slope[4:-4, 4:-4], atol=1e-4)
    image = random.random((24, 32, 3), np.float32)
    np.testing.assert_array_equal(mosaic(demosaiced(mosaic(image))), mosaic(image))


def test_demosaicing_has_the_published_filters():
    """Green at a red pixel: 1/8 of (4 x itself, 2 x its neighbours, -1 x those two away); red at a blue one."""
    seen = np.zeros((16, 16), np.float32)
    seen[8, 8] = 8  # red
    assert demosaiced(seen)[8, 8] == pytest.approx([8, 4, 6])
    assert demosaiced(seen)[8, 6, 1] == pytest.approx(-1)
    assert demosaiced(seen)[7, 7] == pytest.approx([2, 0, 0])  # a blue pixel
    assert demosaiced(seen)[8, 7] == pytest.approx([4, 0, 0.0])  # a green one in its row


@pytest.mark.parametrize("curve", TONE_CURVES)
def test_tone_curves_rise_from_black_to_white_and_are_inverted(curve):
    light = np.linspace(0, 1, 1001)
    values = TONE_CURVES[curve].encode(light)
    assert (values[0], values[-1]) == pytest.approx((0, 1)) and (np.diff(values) > 0).all()
    np.testing.assert_allclose(TONE_CURVES[curve].decode(values), light, atol=1e-9)
    table = light_of_values(curve)
    np.testing.assert_array_equal(quantized(table, curve), np.arange(256))


def test_tone_curves_have_their_published_values():
    # IEC 61966-2-1: 188 is half of the light, and 128 a little more than a fifth.
    assert light_of_values("srgb")[[128, 188]] == pytest.approx([0.21586, 0.50289], abs=1e-5)
    # The smooth step leaves the middle where it is, and takes 0.25 to 3 / 16 - 2 / 64.
    assert TONE_CURVES["s_curve"].encode(np.array([0.25, 0.5]) ** 2.2) == pytest.approx([0.15625, 0.5])


def test_lights_stay_saturated_along_their_path():
    """A point 40 times as bright as white leaves white where as bright a streak would have faded to 1 / 21."""
    motion = Motion(np.array([-1.0, 1.0]), np.array([[-10.0, 0], [10, 0]]))
    margin = margin_of(motion, (32, 64))
    background = np.zeros((32 + 2 * margin, 64 + 2 * margin, 3), np.uint8)
    background[margin + 16, margin + 32] = 255
    for strength, saturated in ((1, 1), (40, 21)):
        light = 255 * with_lights(light_of_values("gamma"), strength)[background]
        blurry, sharp = render(light, margin, motion)
        streak = blurry if strength > 1 else sharp
        assert np.count_nonzero(streak[..., 0] == 1) == pytest.approx(saturated, abs=2)


def test_an_unsharp_mask_leaves_even_areas_and_steepens_edges():
    values = np.full((20, 20, 3), 0.25, np.float32)
    values[:, 10:] = 0.75
    result = sharpened(values, 1.0, 1.0)
    np.testing.assert_allclose(result[:, :4], 0.25, atol=1e-6)
    assert result[10, 9, 0] < 0.2 and result[10, 10, 0] > 0.8
    np.testing.assert_allclose(sharpened(values, 0.0, 1.0), values)


@pytest.fixture(scope="module")
def pictures(scenes):
    photos = [sharp for _, sharp in scenes]
    return Pictures(photos.__getitem__, len(photos), painted=0.0)


def test_an_object_moves_by_its_own_path_and_no_more():
    random = np.random.default_rng(3)
    camera, own = random_motion(random, 9.0, 0.1, 0.05), random_motion(random, 5.0, 0.1)
    times, far = np.linspace(-1, 1, 9), np.array([600.0, 350.0, 1])
    moved, followed = (each.homographies(times, (640, 360)) @ far for each in (joined(camera, own), camera))
    path = np.stack([np.interp(times, own.times, own.shifts[:, axis]) for axis in (0, 1)], axis=1)
    np.testing.assert_allclose((moved - followed)[:, :2], path, atol=1e-9)


def test_outlines_are_soft_and_whole(pictures):
    for seed in range(40):
        cutout = _cutout(np.random.default_rng(seed), pictures, None, (256, 256), still())
        border = np.concatenate([cutout.mask[[0, -1]].ravel(), cutout.mask[:, [0, -1]].ravel()])
        assert border.max() < 0.01 and cutout.mask.max() > 0.9


def test_however_large_a_tilt_is_asked_for_no_view_reaches_the_horizon(pictures):
    for seed in range(20):
        motion = within_sight(random_motion(np.random.default_rng(seed), 5.0, tilt=0.01, zoom=2.0), (720, 1280))
        assert margin_of(motion, (720, 1280)) < 2000


def test_a_pair_is_a_function_of_its_seed(pictures):
    settings = Synthesis(noise=0.5, jpeg=0.5, linear=0.5, unblurred=0.2)
    one, other = (
        [make_pair(np.random.default_rng((1, number)), settings, (64, 64), pictures)[0] for number in range(8)]
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)
    assert len({pair.tobytes() for pair in one}) == 8


def test_an_unblurred_pair_is_its_own_partner(pictures, random):
    pair, parameters = make_pair(random, Synthesis(unblurred=1.0), (64, 64), pictures)
    np.testing.assert_array_equal(pair[..., :3], pair[..., 3:])
    assert parameters["path_pixels"] == 0


def test_a_grey_pair_has_no_colours(pictures, random):
    pair, _ = make_pair(random, Synthesis(grey=1.0, painted=0.5), (64, 64), pictures)
    for image in np.split(pair, 2, axis=2):
        np.testing.assert_array_equal(image.min(axis=2), image.max(axis=2))


def test_a_grey_pair_has_no_colours_with_all_that_a_camera_adds(pictures):
    every = {"linear": 1.0, "lights": 1.0, "noise": 1.0, "white_balance": 1.0, "demosaicing": 1.0, "sharpening": 1.0}
    settings = Synthesis(grey=1.0, **every)
    for seed in range(8):
        pair, _ = make_pair(np.random.default_rng(seed), settings, (64, 64), pictures)
        assert all((image == image[..., :1]).all() for image in np.split(pair, 2, axis=2))


@pytest.mark.parametrize("more", [{}, {"linear": 1.0, "lights": 1.0}])
def test_a_flat_pair_is_of_one_colour(pictures, random, more):
    pair, _ = make_pair(random, Synthesis(flat=1.0, objects=0, **more), (64, 64), pictures)
    np.testing.assert_array_equal(pair, np.broadcast_to(pair[0, 0], pair.shape))
    np.testing.assert_array_equal(pair[..., :3], pair[..., 3:])


def test_a_long_path_is_longer(pictures):
    settings = Synthesis(path=1, long=1.0, long_path=100)
    lengths = [make_pair(np.random.default_rng(n), settings, (64, 64), pictures)[1]["path_pixels"] for n in range(12)]
    assert max(lengths) > 50 and max(lengths) < 101


def test_a_camera_does_all_of_it_and_says_so(pictures):
    settings = PROFILES["camera"]
    drawn = [make_pair(np.random.default_rng(n), settings, (64, 64), pictures)[1] for n in range(40)]
    assert {one["tone_curve"] for one in drawn} == set(TONE_CURVES)
    assert all(one["demosaiced"] and one["noise_strength"] and one["white_balance"][0] > 1.8 for one in drawn)
    assert any(one["light_strength"] > 2 for one in drawn) and any(one["sharpening"][0] for one in drawn)


def test_what_is_out_of_focus_is_so_in_both_images(pictures):
    settings = Synthesis(unblurred=1.0, objects=0)
    sharp = make_pair(np.random.default_rng(3), settings, (64, 64), pictures)[0]
    pair, parameters = make_pair(np.random.default_rng(3), replace(settings, defocus=1.0), (64, 64), pictures)
    np.testing.assert_array_equal(pair[..., :3], pair[..., 3:])
    assert 1 <= parameters["defocus_radius"] <= 12
    roughness = [np.abs(np.diff(image.astype(float), axis=0)).mean() for image in (pair, sharp)]
    assert roughness[0] < 0.7 * roughness[1]


def test_a_point_of_light_out_of_focus_is_an_even_disc():
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    blurry = defocused(image, 6.0)
    light = (blurry[..., 0] / 255) ** 2.2
    assert light[20, 20] == pytest.approx(1 / (np.pi * 6**2), rel=0.05)
    assert light.sum() == pytest.approx(1, rel=0.05)
    distance = np.hypot(*(np.mgrid[:41, :41] - 20))
    assert len(np.unique(blurry[distance < 5.5])) == 1 and not blurry[distance > 6.5].any()
    np.testing.assert_array_equal(defocused(np.full((32, 32, 3), 200, np.uint8), 6.0), 200)


def test_a_blurry_image_is_smoother_than_its_sharp_partner(pictures, random):
    pairs = [make_pair(random, Synthesis(path=40), (64, 64), pictures)[0].astype(float) for _ in range(12)]
    roughness = [[np.abs(np.diff(image, axis=0)).mean() for image in np.split(pair, 2, axis=2)] for pair in pairs]
    assert np.mean([blurry < sharp for blurry, sharp in roughness]) > 0.9


def test_large_photos_are_shrunk():
    assert reduced(np.zeros((1080, 1920, 3), np.uint8)).shape == (1080, 1920, 3)
    assert reduced(np.zeros((2160, 3840, 3), np.uint8)).shape == (1080, 1920, 3)
    assert reduced(np.zeros((4000, 6000, 3), np.uint8)).shape == (1333, 2000, 3)


def test_importing_leaves_opencvs_threads_as_they_are():
    """Only where pairs are made does the package end them: a host program may need them."""
    code = "import cv2; before = cv2.getNumThreads()\n"
    code += "from deepdeblur_tf.creation import from_frames, from_photos, making\n"
    code += "from deepdeblur_tf.data import made_pairs\nassert cv2.getNumThreads() == before"
    subprocess.run([sys.executable, "-c", code], check=True)
