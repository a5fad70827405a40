"""README.md and docs/: their commands run, links lead somewhere, figures are the card's, and sentences are short."""

import configparser
import re
import shlex
import shutil
import subprocess
from urllib.parse import urlparse

import imageio.v3 as iio
import numpy as np
import pytest

from deepdeblur_tf.__main__ import main
from tests.helpers import FILES, ROOT, SMALL, SMALL_FLAGS, write_video

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOTES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "experiments" / "photographs.md"]
WORDS = 25  # of a sentence

BY_HAND = "measures for minutes or hours, or writes into the clone: by hand"
# Commands that nothing runs, by what they begin with, and why.
NOT_RUN = {
    "python3 -m venv ": "begins an installation; .ci/run does it as the README has it",
    ".venv/bin/pip install ": "downloads packages; .ci/run installs those of the tests",
    ".venv/bin/pip wheel ": "writes into the clone; test_packaging.py does it elsewhere",
    ".venv/bin/jupyter notebook ": "waits for a reader; test_notebooks.py runs the notebooks",
    ".venv/bin/tensorboard ": "a program of others; test_callbacks.py reads the curves",
    ".venv/bin/python -m pytest": "is this suite, or a part of it",
    ".venv/bin/python -m experiments.benchmarks.": BY_HAND,
    "docker run ": "needs Docker, and an image from its registry",
    "srun ": "needs Slurm; test_distribution.py sets its variables",
    ".venv/bin/ray start ": "needs several machines; test_predict_many.py begins a cluster on this one",
}
# Commands that are run by other tests, as they stand or but for paths and sizes.
RUN_ELSEWHERE = {
    ".venv/bin/python -m deepdeblur_tf.train": "training/test_interruptions.py",
    ".venv/bin/deepdeblur train": "training/test_interruptions.py",
    ".venv/bin/deepdeblur demo": "commands/test_demo.py",
    ".venv/bin/deepdeblur serve": "commands/test_serve.py",
    ".venv/bin/deepdeblur export photographs exported --format onnx tflite openvino": "serving/test_formats.py",
    ".venv/bin/deepdeblur predict_many ": "commands/test_predict_many.py",
    ".venv/bin/deepdeblur train --config paper ": "training/test_adversarial.py",
    ".venv/bin/deepdeblur train --config photographs ": "data/test_photos.py",
    "TF_CONFIG=": "training/test_distribution.py",
    "echo ": "serving/test_serving.py",
    "curl ": "serving/test_serving.py",
    "python3 -c ": "serving/test_serving.py",
}
# The same for Python, by what it contains.
NOT_RUN_PYTHON = {
    "ray.train": "Ray Train is no dependency",
    "InferenceSession": "serving/test_formats.py asks so",
    "localhost": "serving/test_serving.py runs it against a server",
}
# How large a training is here, by a word of its command: as small as its network allows.
SIZES = {
    "fine_tune": ["--training.epochs=1", "--training.warmup=0", "--data.patch_size=32", "--training.batch_size=2"],
    # The settings alone; test_trainer.py and others train such networks, and the pages above such data.
    "reds_small": ["--print_config"],
    "pytorch_l1": ["--print_config"],
    "longer": ["--print_config"],
}


def text_of(page):
    """A page's running text: without blocks of code, tables, pictures and headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"^(\||#|!\[).*$", "", text, flags=re.M)


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def commands(page):
    """The commands of a page's blocks, one after the other."""
    for block in blocks(page, "(?:ba)?sh"):
        lines = re.sub(r"(\\|&&|\|)\n\s*", r"\1 ", re.sub(r"\\\n\s*", "", block)).splitlines()
        for line in lines:
            line = re.sub(r"(^|\s)# .*", "", line)
            yield from (command.strip() for command in line.split(" && ") if command.strip())


def is_named(command, name):
    """Whether a name above stands for a command: it begins with it, or is it where no blank or dot ends the name."""
    return command.startswith(name) if name.endswith((" ", ".", "=", "pytest")) else command == name


def known(command):
    return any(is_named(command, name) for name in (*NOT_RUN, *RUN_ELSEWHERE))


def to_run(page):
    return [command for command in commands(page) if not known(command)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_opens_with_its_command(page):
    if page.stem != "README":  # which opens with its picture
        assert re.match(r"# .+\n\n```sh\n", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_sentences_are_short(page):
    text = re.sub(r"`[^`]*`", "code", re.sub(r"\]\([^)]*\)", "]", text_of(page)))
    paragraphs = re.split(r"\n\s*\n|^\s*- ", text, flags=re.M)
    sentences = [one for paragraph in paragraphs for one in re.split(r"(?<=[.?!])\s+", " ".join(paragraph.split()))]
    assert [one for one in sentences if len(one.split()) > WORDS] == []


def test_the_readme_is_short_and_names_every_page():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= 9000
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []


def test_the_two_commands_that_set_up_stay_as_they_are():
    first, second = blocks(ROOT / "README.md", "bash")
    begin = "python3 -m venv .venv && .venv/bin/pip install -q -e"
    assert first == f"{begin} . && .venv/bin/python -m deepdeblur_tf.train\n"
    assert second == f"{begin} '.[test]' && .venv/bin/python -m pytest\n"


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", NOTES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        address = urlparse(link.strip())
        if address.scheme:
            assert address.scheme == "https" and address.netloc, link
            continue
        target = (page.parent / address.path).resolve() if address.path else page
        assert target.is_file() and target.is_relative_to(ROOT), link
        assert not address.fragment or address.fragment in anchors(target), link


def test_files_that_are_named_are_there():
    for page in PAGES:
        for name in re.findall(r"\b(?:experiments|notebooks|tests)/[\w/.]*\w", page.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{page.name}: {name}"
        for name in re.findall(r"-m (experiments\.[\w.]+)", page.read_text(encoding="utf-8")):
            assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), f"{page.name}: {name}"


def test_extras_that_are_named_exist():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = set(setup["options.extras_require"])
    installing = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", installing, re.M)
    assert set(re.findall(r"\w+", " ".join(rows))) == extras
    for page in PAGES:
        for names in re.findall(r"'\.\[([\w,]+)\]'", page.read_text(encoding="utf-8")):
            assert set(names.split(",")) <= extras, page.name


def test_messages_that_are_explained_exist():
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "deepdeblur_tf").rglob("*.py"))
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # texts of several lines
    page = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
    explained = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`.*?) \|", page, re.M)))
    assert len(explained) > 20
    pieces = {piece.strip() for message in explained for piece in re.split(r"\.\.\.|\d+x\d+", message)}
    assert [piece for piece in sorted(pieces) if piece not in source] == []


def test_the_readmes_figures_are_those_of_the_card():
    card = (ROOT / "deepdeblur_tf" / "trained" / "photographs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \| \+", card, re.M)
    (kept,) = re.findall(r"^(8 sharp photos \(Kodak\)) are kept to ([\d.]+) dB on average", card, re.M)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| images | before | after |\n|---|---|---|\n")[2].partition("\n\n")[0]
    shown = [tuple(cell.strip() for cell in row.split("|")[1:4]) for row in table.splitlines()]
    assert shown == [*rows[:4], (kept[0], "sharp", kept[1])]


def test_what_other_tests_run_is_still_there():
    for name in RUN_ELSEWHERE.values():
        assert (ROOT / "tests" / name).is_file()
    given = [command for page in PAGES for command in commands(page)]
    for name in (*NOT_RUN, *RUN_ELSEWHERE):
        assert any(is_named(command, name) for command in given), f"{name}: on no page"


@pytest.fixture(scope="module")
def place(tmp_path_factory, scenes):
    """A folder with everything that the commands name, small."""
    folder = tmp_path_factory.mktemp("place")
    blurry, sharp = (image[:64, :96] for image in scenes[0])

    def write(name, image=blurry):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        iio.imwrite(folder / name, image)

    for name in ("holiday.jpg", "blurry.jpg", "blurry.png", "photos/1.jpg", "photos/below/2.png", "more/new/3.png"):
        write(name)
    write("sharp.png", sharp)
    write("restored.png", sharp)
    for number in range(4):
        for split in ("train", "val"):
            write(f"pairs/{split}/input/{number}.png")
            write(f"pairs/{split}/target/{number}.png", sharp)
        for name in ("holiday", "PHOTOS"):
            write(f"{name}/{number}.png", np.roll(scenes[1][1], 32 * number, 0))
        write(f"THEIRS/GOPR0384_11_00/{number:06d}.png", sharp)
        for part in ("train/GOPR0372_07_00", "test/GOPR0384_11_00"):
            for kind in ("blur", "blur_gamma", "sharp"):
                write(f"GOPRO_Large/{part}/{kind}/{number:06d}.png", sharp if kind == "sharp" else blurry)
        for split in ("train", "val"):
            for kind in ("blur", "sharp"):
                write(f"REDS/{split}/{split}_{kind}/000/{number:08d}.png", sharp if kind == "sharp" else blurry)
    ground = np.tile(scenes[1][1], (1, 2, 1))
    frames = [np.ascontiguousarray(ground[:, left : left + 256]) for left in range(40)]
    (folder / "clips").mkdir()
    for name in ("clips/1.mp4", "clips/2.mp4"):
        write_video(folder / name, frames)
    write_video(folder / "clip.mp4", [frame[:64, :96] for frame in frames[:4]])
    (folder / "GOPRO_L1" / "models").mkdir(parents=True)
    shutil.copy(FILES / "torch" / "network.pt", folder / "GOPRO_L1" / "models" / "model-1000.pt")
    return folder


def shrunk(arguments):
    """A command's arguments, with flags that make it small where it would take long."""
    if arguments[0] == "train":
        name = next((name for name in SIZES if name in arguments), None)
        # Flags of the page win, for it shows them.
        return [arguments[0], *(SIZES[name] if name else SMALL_FLAGS), *arguments[1:]]
    if arguments[0] == "synthesize":
        return [*arguments, "--jobs", "1"]
    return arguments


ORDER = ["training", "report", "own_pairs"]  # make what others use
RUN = sorted((page for page in PAGES if to_run(page)), key=lambda page: (page.stem not in ORDER, page.stem))


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_what_a_page_says_runs(page, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    for command in to_run(page):
        program, *arguments = shlex.split(re.sub(r"^CUDA_VISIBLE_DEVICES=\S+ ", "", command))
        assert program == ".venv/bin/deepdeblur", f"{command}: is neither run nor named in NOT_RUN or RUN_ELSEWHERE"
        try:
            status = main(shrunk(arguments))
        except SystemExit as end:  # --help and --version
            status = end.code
        assert status == 0, f"{command}\n{capsys.readouterr().err}"
    for block in blocks(page, "python"):
        if not any(name in block for name in NOT_RUN_PYTHON):
            exec(block.replace('{"training.epochs": 4}', repr(SMALL)), {})
    # What the commands read and wrote leaves a clone clean.
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in place.iterdir())
    ignored = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.split() == names or "not a git repository" in ignored.stderr
