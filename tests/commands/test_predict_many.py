"""Photos restored by many processes: the same bytes as `predict`'s, each once, whatever dies meanwhile."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepdeblur_tf import predict, predict_many
from deepdeblur_tf.claims import claimed
from deepdeblur_tf.files import UNFINISHED
from deepdeblur_tf.predict_many import _watch, main
from tests.helpers import ROOT

pytest.importorskip("ray", reason="the extra cluster is not installed")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

from deepdeblur_tf.cluster import storage, worklist  # noqa: E402
from deepdeblur_tf.cluster.inputs import PhotoFile, find_photos  # noqa: E402
from deepdeblur_tf.cluster.manifest import ROW, Manifest, told_of  # noqa: E402
from deepdeblur_tf.errors import UserError  # noqa: E402
from deepdeblur_tf.restoration.inputs import File, PredictionError  # noqa: E402
from deepdeblur_tf.restoration.jobs import find_jobs  # noqa: E402

BAD = 4
# In a process with this at its start, whoever opens the photo dies, as of a full memory.
DEADLY = """
import os, sys
sys.addaudithook(lambda event, args: os.kill(os.getpid(), 9) if event == "open" and "deadly" in str(args[0]) else None)
"""


def write_photos(folder, scene, count):
    """Photos of every kind and size, and BAD files that are none."""
    random = np.random.default_rng(0)
    for index in range(count):
        height, width = random.integers(20, 90, 2)
        photo = Image.fromarray(scene[:height, :width])
        exif = Image.Exif()
        exif[0x0112] = 1 + index % 8  # the orientation
        path = folder / str(index % 3) / f"{index:03}"
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = index % 5
        if kind == 0:
            photo.save(f"{path}.jpg", exif=exif)
        elif kind == 1:
            photo.convert("L").save(f"{path}.png")
        elif kind == 2:
            photo.putalpha(Image.linear_gradient("L").resize(photo.size))
            photo.save(f"{path}.png")
        elif kind == 3:
            photo.save(f"{path}.tif")
        else:
            photo.save(f"{path}.bmp")
    (folder / "text.png").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "1" / "001.png").read_bytes()[:200])
    Image.fromarray(np.full((9, 9), 0.3, np.float32)).save(folder / "deep.tif")
    Image.new("P", (9, 9)).save(folder / "gif.jpg", "GIF")
    (folder / "notes.md").write_text("no photo")
    return folder


def contents(folder):
    """The bytes of the results in a folder, by their names; what the commands keep there beside them left out."""
    files = (
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".jsonl", ".parquet") and path.name != ".lock"
    )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def manifest(output):
    return pq.read_table(output / "manifest.parquet").to_pylist()


def start(arguments, **environment):
    command = [sys.executable, "-m", "deepdeblur_tf.predict_many", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_results_are_those_of_predict_and_a_deadly_photo_is_given_up(tmp_path, scenes, model):
    photos = write_photos(tmp_path / "photos", scenes[0][0], 20)
    assert predict.main([str(model), str(photos), "--output", str(tmp_path / "expected")]) == 1
    (photos / "1" / "deadly.png").write_bytes((photos / "1" / "001.png").read_bytes())
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(DEADLY)
    arguments = [model, photos, "--output", tmp_path / "out"]
    process = start(arguments, PYTHONPATH=os.pathsep.join([str(tmp_path / "start"), str(ROOT)]))
    said = process.communicate()[0]
    assert process.returncode == 1, said
    assert f"restored: 20 of 25 photos are in {tmp_path / 'out'}" in said and "failed: 5" in said
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")
    assert "deadly.png: the process that restored it died, 2 times" in said
    for noise in ("Traceback", "Warning", "WARNING", "INFO", "raylet", "oneDNN", ".cc:"):
        assert noise not in said
    rows = manifest(tmp_path / "out")
    assert len(rows) == 25 and sorted(row["status"] for row in rows) == ["done"] * 20 + ["failed"] * 5
    for row in rows:
        source = Path(row["input"])
        assert row["input_bytes"] == source.stat().st_size and row["options"] == rows[0]["options"]
        assert bool(row["error"]) == (row["status"] == "failed") and str(source) in (row["error"] or str(source))
        if row["status"] == "done":
            with Image.open(row["output"]) as image:
                assert image.size == (row["width"], row["height"])
    # What is done is skipped; for that no Ray is begun.
    for _ in range(2):
        assert main([str(model), str(photos / "0"), "--output", str(tmp_path / "out")]) == 0


@pytest.fixture
def bucket(monkeypatch):
    """An empty bucket of an object store on this machine: its client."""
    server = pytest.importorskip("moto.server", reason="no S3-compatible server: moto[server] is not installed")
    boto3 = pytest.importorskip("boto3")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**keys, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(name, value)
    client = boto3.resource("s3").Bucket("bucket")
    client.create()
    yield client
    server.stop()


@pytest.mark.slow
def test_each_photo_is_there_once_after_a_machine_and_the_driver_were_killed(tmp_path, scenes, model, bucket):
    photos = write_photos(tmp_path / "photos", scenes[0][0], 80)
    assert predict.main([str(model), str(photos), "--output", str(tmp_path / "expected")]) == 1
    for path in photos.rglob("*.*"):
        bucket.upload_file(str(path), f"photos/{path.relative_to(photos).as_posix()}")

    def results():
        return [found.key for found in bucket.objects.filter(Prefix="out/") if ".parquet" not in found.key]

    def wait_for(count):
        while len(results()) < count and process.poll() is None:
            time.sleep(0.2)

    sizes = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    quick = {"health_check_period_ms": 1000}  # to notice that a machine is dead
    cluster = Cluster(
        initialize_head=True, head_node_args={**sizes, "include_dashboard": False, "_system_config": quick}
    )
    try:
        machine = cluster.add_node(**sizes)
        arguments = [model, "s3://bucket/photos", "--output", "s3://bucket/out", "--ray", cluster.address]
        process = start(arguments)
        wait_for(10)
        cluster.remove_node(machine, allow_graceful=False)  # by SIGKILL
        wait_for(30)
        process.kill()
        process.communicate()
        assert 10 < len(results()) < 80
        cluster.wait_for_nodes()  # or the driver takes the dead one for its own, for they have one address
        process = start(arguments)
        said = process.communicate()[0]
    finally:
        cluster.shutdown()
    assert process.returncode == 1 and f"restored: 80 of {80 + BAD} photos are in s3://bucket/out" in said, said
    for key in results():
        bucket.download_file(key, str(tmp_path / "object"))
        assert (tmp_path / "object").read_bytes() == (tmp_path / "expected" / key[len("out/") :]).read_bytes()
    assert len(results()) == 80
    (table,) = [found.key for found in bucket.objects.filter(Prefix="out/") if found.key.endswith(".parquet")]
    bucket.download_file(table, str(tmp_path / "manifest.parquet"))
    rows = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    assert len({row["input"] for row in rows}) == len(rows) == 80 + BAD
    assert sum(row["status"] == "failed" for row in rows) == BAD


def found(inputs, output="/results"):
    return [photo.target for photo in find_photos([storage.place(str(text)) for text in inputs], output)]


def found_by_both(inputs, output="/results"):
    targets = found(inputs, output)
    assert targets == [str(job.target) for job in find_jobs(inputs, output)[0]]  # as `predict` finds them
    return targets


def test_names_of_results(tmp_path, monkeypatch):
    for name in ("b/2.JPG", "b/c/3.png", "1.png", "b/.hidden/4.png", "b/notes.md", "out/5.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    (tmp_path / "photos" / "b" / "round").symlink_to(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("photos/b/2.JPG\n\n./photos/1.png\nphotos/gone.png\n../elsewhere/6.png\n")
    folder = storage.place("photos")
    everything = ["1.png", "b/2.JPG", "b/c/3.png"]
    assert found_by_both(["photos"], f"{folder}/out") == [f"{folder}/out/{name}" for name in everything]
    assert found_by_both(["photos/b/c/3.png"]) == ["/results/3.png"]
    assert found_by_both(["photos/**/*.png"], f"{folder}/out") == [f"{folder}/out/1.png", f"{folder}/out/b/c/3.png"]
    assert found_by_both(["photos/*/[!3].*"]) == ["/results/b/2.JPG", "/results/out/5.png"]
    monkeypatch.chdir(tmp_path / "photos")
    assert found_by_both(["**/*.png", "b/[12]*"]) == [
        f"/results/{name}" for name in ("1.png", "b/c/3.png", "out/5.png", "2.JPG")
    ]
    monkeypatch.chdir(tmp_path)
    listed = ["photos/b/2.JPG", "photos/1.png", "photos/gone.png", f"{tmp_path.parent}/elsewhere/6.png".lstrip("/")]
    assert found_by_both(["list.txt"]) == [f"/results/{name}" for name in listed]


def test_patterns_take_endings_of_any_case(tmp_path, monkeypatch):
    for name in ("1.JPG", "2.jpg", "3.Jpg", "a.PNG", "B.jpg"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert found_by_both(["[123].jpg"]) == ["/results/1.JPG", "/results/2.jpg", "/results/3.Jpg"]
    assert found_by_both(["[Bb].JPG"]) == ["/results/B.jpg"]
    assert found_by_both(["*.png"]) == ["/results/a.PNG"]


@pytest.mark.filterwarnings("error")
def test_patterns_of_odd_sets(tmp_path, monkeypatch):
    for name in ("1.jpg", "[.jpg", "&.jpg", "a[!]b.jpg", "[z-a].jpg"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert found_by_both(["[[&].jpg"]) == ["/results/&.jpg", "/results/[.jpg"]
    assert found_by_both(["[!1a[]*"]) == ["/results/&.jpg"]
    assert found_by_both(["a*[!]*"]) == ["/results/a[!]b.jpg"]
    for pattern in ("[y-b]*", "*[!]", "[[:alpha:]]*", "[--&&~~||]*x"):
        with pytest.raises(PredictionError, match="as a pattern of"):
            found_by_both([pattern])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_lists_of_other_editors(tmp_path, monkeypatch, encoding):
    monkeypatch.chdir(tmp_path)
    text = "photos/Jürgen.png\r\nphotos/2.png\r\n"
    (tmp_path / "list.txt").write_bytes(("\ufeff" * (encoding == "utf-16-le") + text).encode(encoding))
    assert found_by_both(["list.txt"]) == ["/results/photos/Jürgen.png", "/results/photos/2.png"]


def test_files_that_are_left_alone_are_told(tmp_path):
    for name in ("1.png", "notes.md", "b/c.MOV"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    others = []
    assert len(list(find_photos([str(tmp_path)], "/results", others.append))) == 1
    assert sorted(others) == [str(tmp_path / "b" / "c.MOV"), str(tmp_path / "notes.md")]


def test_names_that_are_no_utf_8(tmp_path):
    folder = tmp_path / "photos" / os.fsdecode(b"m\xfcnchen")
    folder.mkdir(parents=True)
    name = os.fsdecode(b"J\xfcrgen.png")
    (folder / name).write_bytes(b"123")
    listed = tmp_path / "list.txt"
    listed.write_bytes(os.fsencode(folder / name) + b"\n")
    (photo,) = find_photos([str(tmp_path / "photos")], str(tmp_path / "out"))
    assert photo.source == str(folder / name) and photo.size == 3 and photo.target.endswith(f"{folder.name}/{name}")
    assert [other.source for other in find_photos([str(listed)], str(tmp_path / "out"))] == [photo.source]
    assert worklist.write(str(tmp_path), [photo], 0) == 1 and list(worklist.groups(str(tmp_path))) == [[photo]]
    (Path(photo.target).parent).mkdir(parents=True)
    Path(photo.target).touch()
    rows = {"output": photo.target, "input_bytes": 3, "input_changed_ns": photo.mtime_ns}
    kept = written(tmp_path / "out", [{"input": photo.source, "status": "done", **rows}])
    assert list(kept.fail_gone()) == []
    again = Manifest(str(tmp_path / "out"), "network", {})
    assert again.known().is_done(photo) and manifest(tmp_path / "out")[0]["input"].endswith(r"m\xfcnchen/J\xfcrgen.png")


def test_a_list_may_hold_addresses_of_no_file(tmp_path):
    (tmp_path / "list.txt").write_text("https://example.com\n")
    assert [str(job.target) for job in find_jobs([str(tmp_path / "list.txt")], "out")[0]] == ["out/example.com"]


def test_inputs_that_cannot_be_used(tmp_path):
    for name in ("a/1.png", "b/1.png", "c/notes.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_bytes(b"a\0\1\xff")
    for inputs, message in (
        (["list.txt"], "is no list of files"),
        (["a", "b"], "would both become /results/1.png"),
        (["c"], "holds no photo"),
        (["a/*.jpg"], "matches no photo"),
        (["d"], "no such file or folder"),
    ):
        with pytest.raises(PredictionError, match=message):
            found([tmp_path / name for name in inputs])
    with pytest.raises(PredictionError, match="would replace one of the photos"):
        found([tmp_path / "a"], str(tmp_path / "a"))
    assert found([tmp_path / "a", tmp_path / "a"]) == ["/results/1.png"]  # the same photo named twice
    with pytest.raises(UserError, match="no address of an object store"):
        storage.place("s3://key:secret@bucket/photos")


def row(name, status="done", size=1):
    return {"input": name, "output": f"out/{name}", "status": status, "input_bytes": size, "input_changed_ns": 5}


def written(folder, rows, network="network"):
    """A manifest with a part of these rows."""
    made = Manifest(str(folder), network, {})
    made.add(rows)
    made.write()
    return made


def test_done_is_what_the_last_row_says_of_the_same_photo_network_and_options(tmp_path):
    first = written(tmp_path, [row("a"), row("b"), row("bad", "failed"), row("changed")])
    other = written(tmp_path, [row("b"), row("changed", size=2)], "another network")

    def done(manifest):
        is_done = manifest.known().is_done
        photos = {name: PhotoFile(name, "", 1, 5) for name in ("a", "b", "bad", "changed", "new")}
        return [name for name, photo in photos.items() if is_done(photo)]

    for _ in range(2):  # before and after the merging
        assert done(first) == ["a"] and done(other) == ["b"]
        assert done(Manifest(str(tmp_path), "network", {"tile": 256})) == []
        assert other.known().is_done(PhotoFile("changed", "", 2, 5))
        assert not first.known().is_done(PhotoFile("changed", "", 1, 5))
        first.merge()
    rows = manifest(tmp_path)
    assert sorted(row["input"] for row in rows) == ["a", "b", "bad", "changed"]
    assert len(list((tmp_path / "manifest.parquet").iterdir())) == 1


def test_results_that_were_changed_since_or_made_of_others_are_foreign(tmp_path):
    first, second = {"output_bytes": 3, "output_changed_ns": 7}, {"output_bytes": 4, "output_changed_ns": 9}
    made = written(tmp_path, [{**row("in/a"), "output": "out/a", **first}])
    written(tmp_path, [{**row("other/a", size=8), "output": "out/a", **second}], "another network")
    written(tmp_path, [{**row("in/b", "failed"), "output": "out/b", "output_bytes": -1}])
    written(tmp_path, [{**row("in/old"), "output": "out/old"}])  # by an earlier version

    def foreign():
        known = Manifest(str(tmp_path), "a third network", {}).known()
        return [
            (source, *state)
            for source, size, *state in (
                *(("in/a", 1, 3, 7), ("in/a", 2, 3, 7), ("moved/a", 1, 3, 7), ("other/a", 8, 4, 9), ("in/b", 1, -1, 0)),
                *(("in/old", 1, 3, 7), ("in/new", 1, -1, 0)),  # to here they are not
                *(("in/a", 1, 3, 8), ("in/a", 1, 4, 9), ("third/a", 5, 3, 7), ("in/b", 1, 3, 7), ("in/new", 1, 3, 7)),
            )
            if known.is_foreign(PhotoFile(source, f"moved/out/{source.partition('/')[2]}", size, 5), File("", *state))
        ]

    expected = [("in/a", 3, 8), ("in/a", 4, 9), ("third/a", 3, 7), ("in/b", 3, 7), ("in/new", 3, 7)]
    assert foreign() == expected
    made.merge()
    assert foreign() == expected


def test_what_a_killed_call_left_without_a_row_is_its_own_and_what_was_retouched_is_not(tmp_path):
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    out.mkdir()
    for name in ("a.png", "b.png", "c.png", "d.png", "e.png"):
        (tmp_path / "in" / name).write_bytes(b"photo")
    photos = list(find_photos([str(tmp_path / "in")], str(out)))
    (out / "e.png").write_bytes(b"a user's")  # which the killed call was to overwrite, and did not reach
    os.utime(out / "e.png", (1, 1))
    worklist.write(str(out), [*photos[:3], photos[4]], time.time_ns() - 10**9)  # for file systems' clocks are coarse
    for name in ("a.png", "c.png", "d.png"):
        (out / name).write_bytes(b"result")
    (noted,) = storage.described([photos[2].target])
    written(out, [{**told_of(photos[2], noted), "status": "done"}])
    (out / "c.png").write_bytes(b"retouched")
    for _ in range(2):
        begun, left = worklist.left(str(out))
        worklist.write(str(out), left, begun)
    made = Manifest(str(out), "network", {})
    assert made.adopt(worklist.left(str(out))[1], begun, made.known())
    worklist.write(str(out), [], time.time_ns())  # a call for other photos
    known = Manifest(str(out), "another network", {}).known()
    results = storage.described([photo.target for photo in photos])
    assert [known.is_foreign(photo, result) for photo, result in zip(photos, results)] == [
        *(False, False, True, True, True)
    ]
    assert not known.is_done(photos[0])


def test_merging_a_part_whose_rows_were_all_replaced(tmp_path):
    manifest_ = Manifest(str(tmp_path), "network", {})
    for size in (1, 2):
        manifest_.add([row("a", size=size), row("b", size=size)])
        manifest_.write()
    manifest_.merge()
    assert [entry["input_bytes"] for entry in manifest(tmp_path)] == [2, 2]


def test_a_damaged_list_of_what_a_killed_call_was_to_do_tells_what_is_left_of_it(tmp_path):
    photos = [PhotoFile(f"in/{name}", f"out/{name}", 1, 5) for name in "abc"]
    worklist.write(str(tmp_path), photos, 7)
    file = Path(worklist.place(str(tmp_path)))
    content = file.read_bytes()
    file.write_bytes(content[:-5])  # as a power cut leaves it
    begun, left = worklist.left(str(tmp_path))
    assert begun == 7 and list(left) == photos[:2]
    for other in (bytes(len(content)), b"", b"\xff\n" + content, content.partition(b"\n")[2]):
        file.write_bytes(other)
        begun, left = worklist.left(str(tmp_path))
        assert begun == 0 and list(left) == []


@pytest.mark.parametrize("damage", ["empty", "cut off", "a bit", "other columns", "other types", "text"])
def test_a_damaged_part_of_the_manifest_is_set_aside(tmp_path, damage):
    written(tmp_path, [row("a")])
    (part,) = (tmp_path / "manifest.parquet").iterdir()
    written(tmp_path, [row("b")])
    content = part.read_bytes()
    if damage == "other columns":
        pq.write_table(pa.table({"input": ["a"], "picture": [1]}), part)
    elif damage == "other types":
        pq.write_table(pa.table({name: ["a"] for name in ROW.names}), part)
    else:
        new = {
            "empty": b"",
            "cut off": content[:-40],
            "a bit": content[:30] + b"\xff" * 9 + content[39:],
            "text": b"a,b",
        }
        part.write_bytes(new[damage])
    reader = Manifest(str(tmp_path), "network", {})
    known = reader.known()
    assert known.is_done(PhotoFile("b", "", 1, 5)) and not known.is_done(PhotoFile("a", "", 1, 5))
    assert known.is_foreign(PhotoFile("a", "out/a", 1, 5), File("", 3, 7))  # nobody can tell whose it is
    assert reader.damaged == [str(part.with_name(f"_damaged_{part.name}"))] and Path(reader.damaged[0]).is_file()
    reader.merge()
    assert [entry["input"] for entry in manifest(tmp_path)] == ["b"]


def test_originals_are_not_replaced_through_links(tmp_path):
    (tmp_path / "photos" / "2024").mkdir(parents=True)
    for name in ("1.png", "2024/2.png"):
        (tmp_path / "photos" / name).write_bytes(b"original")
    (tmp_path / "link").symlink_to("photos")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "2024").symlink_to(tmp_path / "photos" / "2024")  # a link inside
    (tmp_path / "chosen").mkdir()
    (tmp_path / "chosen" / "1.png").symlink_to(tmp_path / "photos" / "1.png")
    (tmp_path / "list.txt").write_text("link/1.png\n")
    for inputs, output in (
        (["photos"], "link"),
        (["link"], "photos"),
        (["photos"], "out"),
        (["chosen"], "photos"),
        (["photos/1.png"], "link"),
        (["photos/*.png"], "link"),
    ):
        with pytest.raises(PredictionError, match="would replace one of the photos"):
            found([tmp_path / name for name in inputs], str(tmp_path / output))
    assert len(found([tmp_path / "photos"], str(tmp_path / "link" / "restored"))) == 2
    # A link to a photo is replaced, not the photo.
    assert len(found([tmp_path / "photos"], str(tmp_path / "chosen"))) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_originals_are_not_replaced_through_a_folder_that_is_mounted_twice(tmp_path):
    for name in ("photos", "mounted"):
        (tmp_path / name).mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(b"original")
    if subprocess.run(["mount", "--bind", tmp_path / "photos", tmp_path / "mounted"], capture_output=True).returncode:
        pytest.skip("may not mount here")
    try:
        with pytest.raises(PredictionError, match="would replace one of the photos"):
            found([tmp_path / "photos"], str(tmp_path / "mounted"))
    finally:
        subprocess.run(["umount", tmp_path / "mounted"], check=True)


@pytest.mark.slow
def test_originals_in_an_object_store_are_not_replaced(bucket, tmp_path):
    bucket.put_object(Key="photos/1.png", Body=b"original")
    (tmp_path / "list.txt").write_text("s3://bucket/photos/1.png\n")
    for where, output in (
        ("s3://bucket/photos", "s3://bucket/photos/"),
        ("s3://bucket", "s3://bucket"),
        (str(tmp_path / "list.txt"), "s3://bucket"),
        ("s3://bucket/photos/1.png", "s3://bucket//photos"),
        ("s3://bucket//photos", "s3://bucket/photos"),
        ("s3://bucket/photos", "s3://bucket/./photos"),
    ):
        with pytest.raises(UserError, match="would replace one of the photos|no address"):
            found([where], storage.place(output))


@pytest.mark.slow
def test_where_it_is_stopped_nothing_asks_ray_any_more_when_ray_ends(tmp_path, model, scenes, monkeypatch, capfd):
    """A thread that did would begin another Ray, unguarded, and the process would die of that."""
    handler = signal.getsignal(signal.SIGHUP)
    for index in range(500):  # so many that most of them are still to do
        Image.fromarray(scenes[0][0][:8, :8]).save(tmp_path / f"{index}.bmp")
    alive = []  # when a photo is done, and when Ray ends

    def look():
        alive.append(sum("StreamingExecutor" in thread.name for thread in threading.enumerate()))

    def stop(*_):
        look()
        os.kill(os.getpid(), signal.SIGHUP)  # as a terminal that is closed
        time.sleep(1)

    def shut_down(before=ray.shutdown):
        look()
        before()

    arguments = [str(model), str(tmp_path), "--output", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(ray, "shutdown", shut_down)
        patch.setattr(Manifest, "add", stop)
        assert main(arguments) == 130
    assert alive == [1, 0] and signal.getsignal(signal.SIGHUP) == handler
    err = capfd.readouterr().err
    assert "\nstopped. " in err and "Traceback" not in err and not list((tmp_path / "out").rglob(UNFINISHED))
    assert main(arguments) == 0


@pytest.mark.slow
def test_overwrite_and_results_that_were_removed_meanwhile(tmp_path, model, capfd, monkeypatch, scenes):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(scenes[0][0][:30, :40]).save(tmp_path / "photos" / name)
    arguments = [str(model), str(tmp_path / "photos"), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0

    def watch(*given):
        failed = _watch(*given)
        (tmp_path / "out" / "a.png").unlink()
        return failed

    Image.new("RGB", (40, 30)).save(tmp_path / "out" / "b.png")  # as somebody retouches it
    mine = (tmp_path / "out" / "b.png").read_bytes()
    capfd.readouterr()
    assert main([*arguments, "--scale", "0.5"]) == 1
    said = capfd.readouterr()
    assert "restored: 1 of 2" in said.out and "left alone: 1 files in" in said.err and "out/b.png" in said.err
    assert (tmp_path / "out" / "b.png").read_bytes() == mine

    monkeypatch.setattr(predict_many, "_watch", watch)
    assert main([*arguments, "--overwrite"]) == 1
    said = capfd.readouterr()
    assert "restored: 1 of 2" in said.out and "out/a.png: was restored, and is not there any more" in said.err
    statuses = {Path(row["input"]).name: row["status"] for row in manifest(tmp_path / "out")}
    assert statuses == {"a.png": "failed", "b.png": "done"}


@pytest.mark.slow
def test_on_one_machine_nothing_listens_beyond_it_and_a_token_is_asked_for(tmp_path):
    code = """if True:
        import os, psutil, ray
        from deepdeblur_tf.cluster import pool
        before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
        with pool.connected(None):
            ray.get(ray.remote(lambda: 1).remote())
            family = [psutil.Process(), *psutil.Process().children(recursive=True)]
            listening = {c.laddr.ip for each in family for c in each.net_connections("tcp") if c.status == "LISTEN"}
            print(len(family) > 2, listening <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}, listening)
            print(os.environ["RAY_AUTH_MODE"], len(os.environ["RAY_AUTH_TOKEN"]))
        print({name: os.environ.get(name) for name in before} == before)
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    lines = process.stdout.splitlines()
    assert lines[0].startswith("True True {") and lines[1:] == ["token 64", "True"], process
    assert not (tmp_path / ".ray").exists()


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--ray", "127.0.0.1:1"], "--ray 127.0.0.1:1: cannot be reached"),
        (["--ray", "nowhere"], "--ray nowhere: cannot be reached"),
        (["--output", "/proc/out"], "--output /proc/out: cannot be written"),
        (["--output", "photo.png"], "--output photo.png: cannot be written"),
        (["--output", "."], "holds files that this command did not write"),
        (["--output", os.fsdecode(b"caf\xe9")], "its name is no UTF-8"),
        pytest.param(["--cpus", "1000"], "no machine has 1000 cores", marks=pytest.mark.slow),
    ],
)
def test_what_is_wrong_is_said_before_the_work(tmp_path, model, capfd, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (9, 9)).save(tmp_path / "photo.png")
    assert main([str(model), "photo.png", "--output", "out", *flags]) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_two_into_one_folder_at_a_time_are_refused(tmp_path, model, capfd):
    """They would read one list of what is to be done, and each say that its own photos are restored."""
    Image.new("RGB", (9, 9)).save(tmp_path / "photo.png")
    out = tmp_path / "out"
    with claimed(out / "manifest.parquet", "predict_many", UserError):
        assert main([str(model), str(tmp_path / "photo.png"), "--output", str(out)]) == 2
    assert capfd.readouterr().err.startswith(f"error: another predict_many is writing to {out / 'manifest.parquet'}.")
    assert [path.name for path in (out / "manifest.parquet").iterdir()] == [".lock"]


def test_without_ray_the_extra_is_named(tmp_path, model, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main([str(model), "photo.png", "--output", str(tmp_path)]) == 2
    assert f"pip install -e '{ROOT}[cluster]'" in capfd.readouterr().err
