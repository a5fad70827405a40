"""How much memory there is."""

import psutil
import pytest

from deepdeblur_tf.compat import gpus
from deepdeblur_tf.memory import available_memory, memory_budget


@pytest.mark.parametrize("version", [1, 2])
def test_a_containers_page_cache_counts_as_available(tmp_path, version):
    names = {
        1: ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
        2: ("memory.max", "memory.current", "memory.stat"),
    }[version]
    # Of 200 MB 180 are used, 150 of those by the cache of files that were read.
    statistics = "anon 30000000\ninactive_file 150000000\nactive_file 0\n"
    if version == 1:  # there the plain lines leave out the groups below
        statistics = "cache 160000000\ninactive_file 1\ntotal_inactive_file 150000000\n"
    (tmp_path / "memory").mkdir()
    for name, text in zip(names, ("200000000\n", "180000000\n", statistics)):
        (tmp_path / name).write_text(text)
    assert available_memory(tmp_path) == 170_000_000
    (tmp_path / names[0]).write_text("max\n")
    assert available_memory(tmp_path) > 170_000_000
    assert available_memory(tmp_path / "none") > 170_000_000


@pytest.mark.skipif(bool(gpus()), reason="a GPU's budget does not depend on the machine's memory")
def test_a_restoration_may_use_half_of_it():
    total = psutil.virtual_memory().total
    assert 0 <= available_memory() <= total and 0 <= memory_budget() <= total // 2
