"""The folder, the intervals and the tables of evaluations, from figures made up here: no network is run."""

import itertools
import math
import warnings

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from deepdeblur_tf.data.protocol import TestSet
from deepdeblur_tf.data.sources import Files, Pair
from deepdeblur_tf.evaluation.folder import Evaluation, EvaluationError, read_summary
from deepdeblur_tf.evaluation.intervals import scene_interval
from deepdeblur_tf.evaluation.plots import plot_gains, plot_scenes
from deepdeblur_tf.evaluation.tables import terminal_table, write_markdown


@pytest.fixture
def evaluation(tmp_path):
    """Makes an evaluation of pairs that exist by name only."""

    def make(label="first", names=("a/1", "a/2"), root="GOPRO"):
        pairs = [Pair(name.rpartition("/")[0], name, tmp_path / "none", tmp_path / "none") for name in names]
        data = {"root": root, "layout": "paired", "blur": "blur", "pairs": len(names), "fingerprint": "0"}
        about = {
            "model": {"file": f"{label}.keras", "sha256": label, "parameters": 1, "experiment": None},
            "data": data,
            "restoration": {"tile": None, "memory": None, "self_ensemble": False, "runtime": "tensorflow"},
        }
        scenes = [pair.scene for pair in pairs] if root != "scenes" else [""] * len(pairs)
        return Evaluation(
            tmp_path / label, label, about, TestSet(Files(pairs), scenes, data, "", independent=root == "scenes")
        )

    return make


def figures(psnr, blurry_psnr=20.0):
    row = {"loss": 0.01, "psnr": psnr, "ssim": 0.8, "ssim_matlab": 0.9, "ms_ssim": 0.9}
    before = {**{f"blurry_{key}": value for key, value in row.items()}, "blurry_psnr": blurry_psnr}
    return {**row, **before, "seconds": 1.0, "tiles": 1}


@pytest.fixture
def result(evaluation):
    """Makes the result of an evaluation: PSNR by image, or (blurry, restored) PSNR."""

    def make(label, psnrs, root="GOPRO"):
        one = evaluation(label, tuple(psnrs), root)
        with one.claimed():
            for name, psnr in psnrs.items():
                one.add(name, figures(*(psnr[::-1] if isinstance(psnr, tuple) else (psnr,))))
            return one.summarise()

    return make


def page(tmp_path, *results):
    write_markdown(tmp_path / "page.md", results, (), {})
    return (tmp_path / "page.md").read_text()


def line(text, *begin):
    """The cells of the only line that begins with these."""
    (cells,) = [
        cells
        for cells in ([cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines())
        if cells[: len(begin)] == list(begin)
    ]
    return cells[len(begin) :]


SCENES = list("aabbbcddddeef")  # six scenes of 1 to 4 images


def test_the_interval_is_that_of_all_resamples_of_whole_scenes(random):
    values = random.normal(size=len(SCENES))
    by_scene = [[value for value, scene in zip(values, SCENES) if scene == one] for one in "abcdef"]
    # Not some of the 6^6 ways to draw six scenes with replacement, but all of them.
    every = [np.mean(sum(drawn, [])) for drawn in itertools.product(by_scene, repeat=6)]
    tail = stats.norm.sf(stats.t(df=5).isf(0.025) * math.sqrt(6 / 5))  # Hesterberg's expanded percentile
    expected = np.quantile(every, [tail, 1 - tail])
    assert scene_interval(values, SCENES) == pytest.approx(expected, abs=0.03 * np.ptp(expected))


def test_more_frames_of_the_same_scenes_do_not_narrow_the_interval(random):
    values = random.normal(size=len(SCENES))
    assert scene_interval(np.repeat(values, 50), np.repeat(SCENES, 50)) == pytest.approx(scene_interval(values, SCENES))
    assert scene_interval(values, SCENES) == scene_interval(values, SCENES)


def test_it_holds_the_true_mean_where_frames_are_correlated(random):
    scenes = np.repeat(np.arange(11), 20)  # as many scenes as GOPRO's test set
    held, held_by_frames = 0, 0
    for _ in range(100):
        values = np.repeat(random.normal(size=11), 20) + 0.5 * random.normal(size=220)  # the true mean is 0
        low, high = scene_interval(values, scenes)
        held += low <= 0 <= high
        low, high = stats.t.interval(0.95, 219, values.mean(), stats.sem(values))
        held_by_frames += low <= 0 <= high
    assert held >= 92 and held_by_frames < 60


@pytest.mark.parametrize("scenes", ["aaaaaaaa", "aabbccdd"])
def test_few_scenes_have_no_interval(scenes):
    assert scene_interval(np.arange(8.0), list(scenes)) is None


def test_two_networks_that_are_perfect_on_an_image_do_not_differ_there(tmp_path, result):
    names = [f"{scene}/{number}" for scene in "abcde" for number in range(2)]
    first = result("first", {name: 30.0 for name in names} | {"a/0": math.inf, "b/0": (math.inf, math.inf)})
    second = result("second", {name: 31.0 for name in names} | {"a/0": math.inf, "b/0": (math.inf, math.inf)})
    text = page(tmp_path, first, second)
    mean, interval, better = line(text, "second - first", "PSNR (dB)")
    assert (mean, better) == ("+0.80", "8 of 10")
    low, high = map(float, interval.split(" to "))
    assert 0.5 <= low < 0.8 < high <= 1
    assert "nan" not in text.lower() and "nan" not in terminal_table([first, second]).lower()


def test_a_network_that_alone_is_perfect_is_infinitely_better(tmp_path, result):
    names = list("abcde")
    first = result("first", {f"{name}/0": 30.0 for name in names})
    second = result("second", {f"{name}/0": math.inf if name == "a" else 31.0 for name in names})
    assert line(page(tmp_path, first, second), "second - first", "PSNR (dB)") == ["+inf", "-", "5 of 5"]
    third = result("third", {f"{name}/0": math.inf if name == "b" else 31.0 for name in names})
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of numpy, into the user's terminal
        assert line(page(tmp_path, second, third), "third - second", "PSNR (dB)") == ["-", "-", "1 of 5"]


def test_gains_where_the_input_or_the_output_is_perfect(tmp_path, result):
    one = result(
        "first", {"a/0": (math.inf, 40.0), "b/0": (20.0, math.inf), "b/1": 21.0, "c/0": (math.inf, math.inf), "d/0": 22}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = page(tmp_path, one)
        plot_gains(tmp_path / "gains.png", [one, one])
        plot_scenes(tmp_path / "scenes.png", [one, one])
    gains = {scene: line(text, scene, str(images))[2] for scene, images in (("a", 1), ("b", 2), ("c", 1), ("d", 1))}
    assert gains == {"a": "-", "b": "+inf", "c": "-", "d": "+2.00"}
    assert "nan" not in text.lower()
    for name in ("gains", "scenes"):
        assert min(Image.open(tmp_path / f"{name}.png").size) > 100


def test_with_few_scenes_the_table_says_why_there_is_no_interval(tmp_path, result):
    psnrs = {f"a/{number}": 30.0 + number for number in range(9)}
    text = page(tmp_path, result("first", psnrs), result("second", {name: psnr**1.01 for name, psnr in psnrs.items()}))
    assert line(text, "second - first", "PSNR (dB)")[1] == "-"
    assert "None is shown for 1 scene: fewer than 5 say too little" in text


def test_each_embedded_scene_counts(tmp_path, result):
    psnrs = {f"validation/{number}": 30.0 + number for number in range(9)}
    first = result("first", psnrs, root="scenes")
    text = page(tmp_path, first, result("second", {name: psnr**1.01 for name, psnr in psnrs.items()}, root="scenes"))
    assert " to " in line(text, "second - first", "PSNR (dB)")[1] and "None is shown" not in text
    assert "## Scenes" not in text  # a table of single images


def test_a_claimed_folder_is_refused_and_then_free(evaluation):
    first, same = evaluation(), evaluation()
    with first.claimed():
        first.add("a/1", figures(30.0))
        with pytest.raises(EvaluationError, match="another evaluation is writing to .*first. Wait for its end"):
            with same.claimed():
                pass
    with same.claimed():
        assert list(same.read_rows()) == ["a/1"]


def test_a_torn_line_is_dropped_and_the_summary_follows(evaluation):
    one = evaluation()
    with one.claimed():
        one.add("a/2", figures(30.0))
    with open(one.metrics, "a") as file:
        file.write("a/1,0.01,2")  # a line that a kill cut off
    with one.claimed():
        assert list(one.read_rows()) == ["a/2"]
        one.add("a/1", figures(math.inf))
        assert list(one.summarise().rows) == ["a/1", "a/2"]
    summary = read_summary(one.folder)
    assert summary["finished"] and summary["overall"]["restored"]["psnr"] == "inf"


def test_a_folder_from_before_a_measure_is_continued_and_its_images_measured_again(evaluation):
    one = evaluation()
    with one.claimed():
        one.add("a/1", figures(30.0))
        one.summarise()
    content = one.metrics.read_text().replace("ssim_matlab", "earlier_measure")
    one.metrics.write_text(content)
    summary = (one.folder / "summary.json").read_text().replace("ssim_matlab", "earlier_measure")
    (one.folder / "summary.json").write_text(summary)
    assert "ssim_matlab" not in read_summary(one.folder)["overall"]["restored"]
    with one.claimed():
        assert one.read_rows() == {}
        one.add("a/1", figures(30.0))
        assert one.summarise().rows["a/1"]["ssim_matlab"] == 0.9


def test_there_is_no_mean_loss_where_an_image_has_none(evaluation):
    one = evaluation()
    with one.claimed():
        one.add("a/1", figures(30.0))
        one.add("a/2", {**figures(32.0), "loss": math.nan, "ms_ssim": math.nan})  # restored at another scale, and small
        overall = one.summarise().summary["overall"]
    assert math.isnan(overall["restored"]["loss"]) and overall["blurry"]["loss"] == 0.01
    assert overall["restored"]["psnr"] == 31.0 and overall["restored"]["ms_ssim"] == 0.9


def test_another_evaluations_folder_is_refused(evaluation):
    with evaluation().claimed():
        pass
    other = evaluation()
    other.about["restoration"]["tile"] = 160
    with pytest.raises(EvaluationError, match="holds another evaluation(.|\n)*restoration.tile: None / 160"):
        with other.claimed():
            pass


def test_a_folder_that_a_full_disk_left_at_its_beginning_goes_on(evaluation):
    one = evaluation()
    with one.claimed():
        one.add("a/1", figures(30.0))
    lines = one.metrics.read_text().splitlines(keepends=True)
    (one.folder / "summary.json").unlink()
    with pytest.raises(EvaluationError, match="holds metrics.csv, which is of no evaluation"):
        with one.claimed():
            pass
    one.metrics.write_text(lines[0])
    with one.claimed():
        assert (one.folder / "summary.json").is_file()


@pytest.mark.parametrize("name", ["metrics.csv", "report.md", "figures/mine.png", "restored/a/1.png"])
def test_files_of_others_are_left_alone(evaluation, name):
    one = evaluation()
    path = one.folder / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(EvaluationError, match=f"holds {name.split('/')[0]}, which is of no evaluation. Give another"):
        with one.claimed():
            pass
    assert path.read_text() == "mine" and [entry.name for entry in one.folder.iterdir()] == [name.split("/")[0]]


@pytest.mark.parametrize("content", ["", "{}", '{"model": 3}'])
def test_a_foreign_summary_is_refused_by_name(tmp_path, content):
    with pytest.raises(EvaluationError, match="holds no summary.json"):
        read_summary(tmp_path)
    (tmp_path / "summary.json").write_text(content)
    with pytest.raises(EvaluationError, match=r"summary.json: is not from an evaluation"):
        read_summary(tmp_path)
