"""Samplers: what each batch holds, over drawn labels, batch sizes and seeds."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vitrine.errors import DataError, InputError
from vitrine.training import samplers

# the number of images of each class; the classes are not numbered without gaps, and their images lie mixed
COUNTS = st.lists(st.integers(1, 12), min_size=2, max_size=6)
SEEDS = st.integers(0, 2**31)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labels_of(counts: list[int]) -> Tensor:
    labels = torch.tensor([3 * label + 1 for label, count in enumerate(counts) for _ in range(count)])
    return labels[torch.randperm(len(labels), generator=seeded(7))]


# --- shuffled


@given(n=st.integers(2, 60), batch=st.integers(2, 70), seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_shuffled_has_every_image_and_no_batch_of_one(n: int, batch: int, seed: int) -> None:
    batches = samplers.shuffled(torch.zeros(n, dtype=torch.int64), batch, seeded(seed))
    assert len(batches) == -(-n // batch)
    assert all(len(each) == batch for each in batches[:-1])
    assert len(batches[-1]) == (n % batch or min(batch, n)) + (n % batch == 1)
    assert all(len(set(each.tolist())) == len(each) for each in batches)
    everything = torch.cat(batches)
    assert everything.dtype == torch.int64
    assert everything.bincount().tolist().count(1) == n - (n % batch == 1)
    assert set(everything.tolist()) == set(range(n))


def test_shuffled_is_the_order_of_torch() -> None:
    expected = torch.randperm(10, generator=seeded(4))
    assert torch.equal(torch.cat(samplers.shuffled(torch.zeros(10), 4, seeded(4))), expected)


# --- pairs


@given(counts=COUNTS.filter(lambda counts: max(counts) > 1), quarter=st.integers(1, 8), seed=SEEDS)
@settings(max_examples=80, deadline=None)
def test_half_of_the_pairs_are_alike(counts: list[int], quarter: int, seed: int) -> None:
    labels, half = labels_of(counts), 2 * quarter
    batches = samplers.pairs(labels, 2 * half, 5, seeded(seed))
    assert len(batches) == 5
    for batch in batches:
        assert batch.dtype == torch.int64
        a, b = batch[:half], batch[half:]
        assert len(a) == len(b) == half
        assert (labels[a] == labels[b]).tolist() == [True, False] * quarter
        for image, other in zip(a[::2].tolist(), b[::2].tolist(), strict=True):
            assert (image == other) == (int((labels == labels[image]).sum()) == 1)


def test_first_members_go_through_all_images() -> None:
    labels = labels_of([5, 8, 3])
    firsts = torch.cat([batch[:8] for batch in samplers.pairs(labels, 16, 6, seeded())])
    assert firsts.bincount().tolist() == [3] * 16


def test_second_members_are_each_as_likely() -> None:
    labels = labels_of([6, 3, 1])
    batches = torch.stack(samplers.pairs(labels, 4, 60_000, seeded(3)))
    for column, alike in ((0, True), (1, False)):
        first, second = batches[:, column], batches[:, column + 2]
        for image in range(10):
            allowed = [k for k in range(10) if (labels[k] == labels[image]) == alike and k != image] or [image]
            found = second[first == image].bincount(minlength=10)
            assert found.sum() == found[allowed].sum()
            expected = int(found.sum()) / len(allowed)
            assert all(abs(int(found[k]) - expected) < 6 * expected**0.5 for k in allowed)


# --- per class


@given(counts=COUNTS, batch=st.integers(2, 40), m=st.integers(1, 20), seed=SEEDS)
@settings(max_examples=150, deadline=None)
def test_batches_have_their_classes_and_images(counts: list[int], batch: int, m: int, seed: int) -> None:
    if batch < 2 * m:
        return
    labels = labels_of(counts)
    wanted = min(batch // m, len(counts))
    batches = samplers.per_class(labels, batch, m, 5, seeded(seed))
    assert len(batches) == 5
    for chosen in batches:
        assert chosen.dtype == torch.int64
        assert len(chosen) == batch
        found, sizes = torch.unique(labels[chosen], return_counts=True)
        assert len(found) == wanted
        assert set(sizes.tolist()) <= {batch // wanted, -(-batch // wanted)}
        for label, size in zip(found.tolist(), sizes.tolist(), strict=True):
            if counts[label // 3] >= size:
                assert len(set(chosen[labels[chosen] == label].tolist())) == size


def test_m_of_each_where_it_comes_out_even() -> None:
    labels = labels_of([50] * 10)
    for chosen in samplers.per_class(labels, 32, 4, 20, seeded()):
        _, sizes = torch.unique(labels[chosen], return_counts=True)
        assert sizes.tolist() == [4] * 8


def test_images_and_classes_are_each_as_likely() -> None:
    labels = labels_of([10, 5, 7, 2])
    chosen = torch.cat(samplers.per_class(labels, 6, 3, 20_000, seeded(2)))  # 2 of 4 classes, 3 of each
    found = chosen.bincount(minlength=24)
    for label, count in zip((1, 4, 7, 10), (10, 5, 7, 2), strict=True):
        expected = 20_000 * 3 / 2 / count
        assert all(abs(int(times) - expected) < 6 * expected**0.5 for times in found[labels == label])


# --- all of them

Sampler = Callable[[Tensor, torch.Generator], samplers.Batches]
SAMPLERS: dict[str, Sampler] = {
    "shuffled": lambda labels, generator: samplers.shuffled(labels, 8, generator),
    "pairs": lambda labels, generator: samplers.pairs(labels, 8, 4, generator),
    "per_class": lambda labels, generator: samplers.per_class(labels, 8, 2, 4, generator),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_same_seed_gives_the_same_batches(name: str) -> None:
    labels, sampler = labels_of([9, 4, 6, 5]), SAMPLERS[name]
    once, again, other = (torch.cat(sampler(labels, seeded(seed))) for seed in (1, 1, 2))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    generator = seeded(1)
    sampler(labels, generator)
    assert not torch.equal(once, torch.cat(sampler(labels, generator)))  # it moves on


@pytest.mark.parametrize("name", SAMPLERS)
def test_torchs_global_generator_is_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    SAMPLERS[name](labels_of([9, 4, 6, 5]), seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_sampled_is_one_sentence() -> None:
    one_class, singles, two = torch.zeros(9, dtype=torch.int64), torch.arange(9), torch.tensor([0, 0, 1])
    with pytest.raises(DataError, match=r"number 1; .* add pictures"):
        samplers.shuffled(torch.zeros(1), 8, seeded())
    with pytest.raises(DataError, match=r"1 class only, and pairs need two .* add pictures"):
        samplers.pairs(one_class, 8, 2, seeded())
    with pytest.raises(DataError, match=r"1 class only, and batches by class need two .* add pictures"):
        samplers.per_class(one_class, 8, 2, 2, seeded())
    with pytest.raises(DataError, match=r"9 classes has one training image only, .* add pictures"):
        samplers.pairs(singles, 8, 2, seeded())
    for batch in (0, 2, 6, 9):
        with pytest.raises(InputError, match=rf"batch of {batch} images .* multiples of 4: change training.batch_size"):
            samplers.pairs(two, batch, 2, seeded())
    with pytest.raises(InputError, match=r"batch of 8 images with 5 of each .* at most 4 of each"):
        samplers.per_class(two, 8, 5, 2, seeded())
