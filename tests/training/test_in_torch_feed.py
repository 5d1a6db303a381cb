"""Pictures on their way into a step: the right ones, mirrored as NumPy mirrors them, in every way that there is."""

import multiprocessing
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

from koniq.pictures.order import Seen, flipped
from koniq.training import in_torch_feed
from koniq.training.in_torch_feed import Batches, Host, OnDevice, chosen, fed, feed, mirrored
from koniq.training.in_torch_processes import Group

CPU = torch.device("cpu")
SHAPE = (24, 32, 3)


class Drawn(Seen):
    """Random pictures by name."""

    shape = SHAPE

    def __init__(self, count):
        pixels = np.random.default_rng(1).integers(0, 256, (count, *SHAPE), np.uint8)
        self.by_name = {f"{number}.png": one for number, one in enumerate(pixels)}

    def __getitem__(self, image_name):
        return self.by_name[image_name]


class Both:
    """What is kept of pictures straight and mirrored, as of held parts."""

    shape, dtype, mirrors = (7,), np.dtype(np.float16), False

    def stored(self, image_name, flip):
        return np.full(7, int(image_name.removesuffix(".png")) + (0.5 if flip else 0), np.float16)


def rows(count, seed=3):
    rng = np.random.default_rng(seed)
    names = [f"{number}.png" for number in rng.permutation(count)]
    return pd.DataFrame({"image_name": names, "MOS": rng.uniform(0, 100, count), "flip": rng.random(count) < 0.5})


def expected(source, table, start, end):
    chosen = table.iloc[start:end]
    return np.stack([flipped(source[name], flip) for name, flip in zip(chosen.image_name, chosen.flip, strict=True)])


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("count", [7, 8, 9])
def test_batches_have_the_pictures_of_their_rows_mirrored(where, count):
    source, table = Drawn(count), rows(count)
    way = Host(source, CPU, 2) if where == "host" else OnDevice(source, table.image_name, CPU)
    found = list(fed(Batches(table, 4, Group(0, 1, CPU)), way))
    assert [len(pixels) for pixels, _ in found] == [4, count - 4] if count < 9 else [4, 4, 1]
    for number, (pixels, mos) in enumerate(found):
        start, end = 4 * number, min(4 * number + 4, count)
        assert pixels.dtype == torch.uint8
        np.testing.assert_array_equal(pixels.numpy(), expected(source, table, start, end))
        np.testing.assert_array_equal(mos.numpy(), table.MOS.to_numpy(np.float32)[start:end])


@pytest.mark.parametrize("where", ["host", "device"])
def test_what_is_kept_both_ways_is_not_mirrored_again(where):
    table = rows(5)
    way = Host(Both(), CPU, 1) if where == "host" else OnDevice(Both(), table.image_name, CPU)
    (pixels, _), (last, _) = fed(Batches(table, 4, Group(0, 1, CPU)), way)
    numbers = table.image_name.str.removesuffix(".png").astype(float) + 0.5 * table.flip
    np.testing.assert_array_equal(torch.cat([pixels, last])[:, 0].numpy(), numbers.to_numpy(np.float16))


def test_mirroring_on_the_device_is_numpys():
    pixels, flips = torch.from_numpy(np.stack(list(Drawn(6).by_name.values()))), torch.tensor([True, False] * 3)
    straight = pixels.numpy().copy()
    for way in (chosen, mirrored):
        for one, flip, before in zip(way(pixels, flips).numpy(), flips.tolist(), straight, strict=True):
            np.testing.assert_array_equal(one, flipped(before, flip))


@pytest.mark.parametrize("size", [2, 3])
def test_processes_share_batches_and_a_last_one_is_filled_or_left_out(size):
    source, table = Drawn(10), rows(10)
    for batches, sizes in (
        ({}, [4, 4, 2]),
        ({"whole_only": True}, [4, 4]),
        ({"filled": True}, [4, 4, 4]),
    ):
        parts = [
            list(fed(Batches(table, 4, Group(rank, size, CPU), **batches), Host(source, CPU, 1)))
            for rank in range(size)
        ]
        assert {len(part) for part in parts} == {len(sizes)}
        for number, count in enumerate(sizes):
            share = -(-count // size)
            assert [len(part[number][0]) for part in parts] == [share] * size
            together = torch.stack([part[number][0] for part in parts], 1).flatten(0, 1)
            end = min(4 * number + 4, 10)
            whole = expected(source, table, 4 * number, end)
            np.testing.assert_array_equal(together[: len(whole)].numpy(), whole)
            assert len(parts[0][number][1]) == len(whole)  # of MOS there are no more than pictures


def test_no_process_is_started_and_no_shared_memory_taken(monkeypatch):
    """Docker's /dev/shm has 64 MiB, of which a loader's processes would take more."""
    monkeypatch.setattr(multiprocessing.Process, "start", None)
    monkeypatch.setattr(torch.Tensor, "share_memory_", None)
    assert len(list(fed(Batches(rows(40), 32, Group(0, 1, CPU)), Host(Drawn(40), CPU, 2)))) == 2


def test_an_epoch_that_is_left_early_leaves_no_thread_at_work():
    read = Counter()

    class Counted(Drawn):
        def __getitem__(self, image_name):
            read[image_name] += 1
            return super().__getitem__(image_name)

    for _ in fed(Batches(rows(400), 4, Group(0, 1, CPU)), Host(Counted(400), CPU, 2)):
        break
    assert sum(read.values()) <= 4 * 7  # those on their way, and no more
    assert set(read.values()) == {1}


def test_pictures_lie_on_a_gpu_where_they_fit(monkeypatch):
    """A processor stands in for the GPU: what is asked of it is its free memory."""
    source, table = Drawn(8), rows(8)
    size = 8 * int(np.prod(SHAPE))
    made = []
    monkeypatch.setattr(in_torch_feed, "OnDevice", lambda *of: made.append(of))
    for free, there in ((4 * size, True), (4 * size - 1, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, 10 * free))
        found = feed(source, table.image_name, torch.device("cuda"), 2)
        assert isinstance(found, Host) != there
    assert len(made) == 1
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6 * 10**9, 8 * 10**9))
    assert isinstance(feed(source, table.image_name, CPU, 2), Host)


def test_an_error_in_a_thread_is_the_epochs():
    table = rows(8).assign(image_name="none.png")
    with pytest.raises(KeyError, match=r"none\.png"):
        list(fed(Batches(table, 4, Group(0, 1, CPU)), Host(Drawn(8), CPU, 2)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
@pytest.mark.parametrize("where", ["host", "device"])
def test_on_a_gpu_nothing_is_waited_for(where):
    device, source, table = torch.device("cuda"), Drawn(64), rows(64)
    way = Host(source, device, 2) if where == "host" else OnDevice(source, table.image_name, device)
    batches = fed(Batches(table, 8, Group(0, 1, device)), way)
    first, _ = next(batches)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [first, *(pixels for pixels, _ in batches)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for number, pixels in enumerate(found):
        np.testing.assert_array_equal(pixels.cpu().numpy(), expected(source, table, 8 * number, 8 * number + 8))
