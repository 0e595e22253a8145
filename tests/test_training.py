"""Recipes, augmentation, networks, loss, loop, checkpoints, export."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch
from torch.nn import functional

from pictures import Cli, save_folder
from vitrine import storage
from vitrine.datasets import ClassNames, Dataset, Splits
from vitrine.encoder import Encoder
from vitrine.errors import DataError, InputError, ModelFileError, RecipeError, StorageError
from vitrine.training import checkpoints, export, lessons, loop, losses, models, splitting, state, transforms
from vitrine.training import recipe as recipes
from vitrine.training.layers import Conv2d
from vitrine.training.recipe import (
    AugmentationTable,
    DataTable,
    LossTable,
    ModelTable,
    OptimiserTable,
    Recipe,
    ScheduleTable,
    TrainingTable,
)

# --- recipes


def test_the_recipes_that_come_with_vitrine_load() -> None:
    assert {"compact", "report-b-mlp"} <= set(recipes.names())
    for name in recipes.names():
        recipe = recipes.load(name)
        assert recipe.name == name


def test_every_recipe_opens_with_its_command_conditions_and_result() -> None:
    for name in recipes.names():
        head = (Path(recipes.__file__).parent / "recipes" / f"{name}.toml").read_text().split("\n[")[0]
        for word in (f"vitrine train {name}", "seed", "validation", "test", "cores"):
            assert word in head, f"{name}.toml does not state its {word}"


def test_overrides_by_full_name_by_last_part_and_with_hyphens() -> None:
    recipe = recipes.load(
        "compact",
        {"epochs": "3", "optimiser.learning-rate": "1", "widths": "[8, 8]", "blocks": "[1,1]", "data.name": "drawn"},
    )
    assert (recipe.training.epochs, recipe.optimiser.learning_rate, recipe.model.widths) == (3, 1.0, (8, 8))
    assert recipe.data.name == "drawn"
    for written, value in ((".25", 0.25), ("+.5", 0.5), (".5e-1", 0.05), ("00.5", 0.5)):
        assert recipes.load("compact", {"validation": written}).data.validation == value
    assert recipes.load("compact", {"weight-decay": "5."}).optimiser.weight_decay == 5
    assert recipes.load("compact", {"data.name": "007"}).data.name == "007"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[optimizer]\nname = 'sgd'", "unknown table .* did you mean 'optimiser'"),
        ("epochs = 3", "unknown table"),
        ("[training]\nepochs = " + "1" * 5000, "is not valid TOML"),
        ("[training]\nepoch = 3", "did you mean 'training.epochs'"),
        ("[training]\nepochs = 3.5", "must be a whole number"),
        ("[training]\nepochs = true", "must be a whole number"),
        ("[training]\nepochs = -1", "allowed is 1 to"),
        ("[augmentation]\nflip = 1", "must be true or false"),
        ("[augmentation]\nerase = 1.5", "allowed is 0 to 1"),
        ("[optimiser]\nlearning_rate = nan", "allowed is"),
        ("[optimiser]\nname = 'rmsprop'", "allowed are 'sgd', 'adam', 'adamw', 'muon'"),
        ("[model]\nwidths = [16, 32]", "they must be as many"),
        ("[model]\nwidths = 'wide'", "must be a list of whole numbers"),
        ("[model]\nwidths = [0]", "must be a list of whole numbers from 1"),
        ("[data]\nleave_out = [-1]", "must be a list of whole numbers from 0"),
        ("[loss]\ncross_entropy = 0", "nothing would be learnt"),
        ("[loss]\nmetric = 'report-a'", "needs sampler.name 'pairs'"),
        ("[loss]\nmetric = 'supcon'\npositives = 'image'", "needs training.views 2"),
        ("[loss]\nmetric = 'cosface'\npositives = 'image'\n[training]\nviews = 2", "'contrastive', 'triplet' or"),
        ("[model]\nname = 'mlp'\nlooks = 8\n[loss]\nmetric = 'supcon'", "model.looks is for"),
        ("[model]\nname = 'keras-resnet50'", "wants data.size 32 or more"),
        ("[model]\nname = 'resnet50'\nstride = 3", "allowed are 1, and 2 or 4 for 'resnet50'"),
        ("[model]\nstride = 2", "allowed are 1, and 2 or 4 for 'resnet50'"),
        ("[model]\nfrozen = true", "needs model.start and loss.metric 'report-a'"),
        ("[model]\nstart = '../x'", "must be the name of a run's folder"),
        ("[model]\nname = 'mlp'\ndenoise = true", "model.denoise is for model.name 'compact'"),
        ("[model]\ndenoise = true\n[data]\nsize = 20", "needs data.size 24 or more"),
        ("[loss]\nsecond_view = 0.1", "there is no second view; set training.views to 2"),
        ("[training]\nviews = 2", "nothing learns from the second"),
        ("[model]\nlooks_widths = [4]", "has 1 stages and model.looks_blocks 2; they must be as many"),
        ("[model]\nlooks = 8", "are learnt by a metric loss beside cross-entropy"),
        ("[model]\nlooks = 8\n[loss]\nmetric = 'supcon'\ncross_entropy = 0", "are learnt by a metric loss beside"),
        ("[model]\nshape_channels = 8", "stands beside model.looks"),
        ("[model]\nlooks = 8\nshape_channels = 65\n[loss]\nmetric = 'supcon'", "has 64 channels and 49 places"),
        ("[model]\nlooks = 8\nshape_channels = 2\nshape_places = 50\n[loss]\nmetric = 'supcon'", "and 49 places"),
        ("[loss]\nmetric = 'report-a'\n[sampler]\nname = 'pairs'\n[training]\nema = 0.9", "not an average"),
        ("[sampler]\nname = 'pairs'\n[training]\nbatch_size = 6", "must be a multiple of 4, it is 6"),
        ("[sampler]\nname = 'per-class'\nper_class = 65", "has no room for so many of two classes"),
        ("[sampler]\nsteps = 1000000000", "allowed is 0 to 100000"),
        ("[second_view]\nhole = -1", "allowed is 0 to 512"),
    ],
)
def test_wrong_recipes_are_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(RecipeError, match=says) as caught:
        recipes.load(str(tmp_path / "r.toml"))
    assert "\n" not in str(caught.value)


def test_the_second_view_is_overridden_in_full_only() -> None:
    recipe = recipes.load("compact", {"hole": "3", "second_view.hole": "5", "views": "2", "loss.second_view": "0.1"})
    assert (recipe.augmentation.hole, recipe.second_view.hole, recipe.training.views) == (3, 5, 2)


# --- augmentation

BLACK, WHITE = torch.tensor([-0.5]), torch.tensor([2.0])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shift_and_mirror_by_loops() -> None:
    images = torch.rand(64, 2, 6, 7, generator=seeded())
    moved = transforms.shift_and_mirror(images, 2, True, seeded(1))
    kinds = set()
    for image, result in zip(images, moved, strict=True):
        found = []
        for down in range(-2, 3):
            for right in range(-2, 3):
                for mirror in (False, True):
                    expected = torch.empty_like(image)
                    for y in range(6):
                        for x in range(7):
                            column = min(max(x + right, 0), 6)
                            source = min(max((6 - x if mirror else x) + right, 0), 6) if mirror else column
                            expected[:, y, x] = image[:, min(max(y + down, 0), 5), source]
                    if torch.equal(expected, result):
                        found.append((down, right, mirror))
        assert found
        kinds.add(found[0])
    assert len(kinds) > 20
    assert {mirror for _, _, mirror in kinds} == {True, False}


def test_no_shift_and_no_mirror_is_the_same() -> None:
    images = torch.rand(4, 1, 5, 5)
    assert torch.equal(transforms.shift_and_mirror(images, 0, False, seeded()), images)
    assert torch.equal(transforms.augment(images, AugmentationTable(), seeded(), BLACK, WHITE), images)


def test_erase_makes_one_rectangle_of_the_stated_area_in_the_stated_share() -> None:
    images = torch.full((2000, 1, 28, 28), 9.0)
    erased = transforms.erase(images, 0.4, seeded())[:, 0] != 9
    touched = erased.flatten(1).any(1)
    assert touched.float().mean() == pytest.approx(0.4, abs=0.04)
    areas = erased[touched].flatten(1).float().mean(1)
    assert float(areas.max()) < 0.40
    assert float(areas.mean()) == pytest.approx((0.02 + 0.33) / 2, abs=0.02)
    for hole in erased[touched][:100]:
        rows, columns = hole.any(1), hole.any(0)
        assert torch.equal(hole, rows[:, None] & columns[None, :])
        assert int(rows.sum()) == int(rows.nonzero().max() - rows.nonzero().min()) + 1


def test_turning_and_cropping_keeps_the_middle_and_fills_with_black() -> None:
    images = torch.full((50, 1, 28, 28), 2.0)
    images[:, :, 2:26, 12:16] = 0.5  # an upright bar in the middle
    turned = transforms.turn_and_crop(images, 45, 0.0, seeded(), BLACK)
    assert torch.allclose(turned[:, :, 13:15, 13:15], torch.tensor(0.5), atol=0.05)
    assert float(turned[:, 0, 0, 0].min()) == pytest.approx(-0.5, abs=0.3)  # a corner turned in from outside
    assert torch.allclose(transforms.turn_and_crop(images, 0, 0.0, seeded(), BLACK), images, atol=1e-4)
    tops = turned[:, 0, 6].argmin(1)  # where the bar crosses the row, off the middle by up to 7.5 * tan 45°
    assert int(tops.min()) < 9
    assert int(tops.max()) > 18


def test_a_crop_is_a_window_inside_the_image_at_full_size() -> None:
    ramp = torch.linspace(0, 1, 28).expand(200, 1, 28, 28)  # rises to the right
    cropped = transforms.turn_and_crop(ramp, 0, 0.2, seeded(), BLACK)
    rise = cropped[:, 0, 14, 24] - cropped[:, 0, 14, 4]  # 20 pixels of the result
    sides = rise / (20 / 27)
    assert 0.79 < float(sides.min()) < 0.85
    assert 0.95 < float(sides.max()) < 1.01
    assert float(cropped.min()) > -0.03  # nothing from outside


def test_brightness_hole_and_noise_do_what_they_say() -> None:
    images = torch.rand(300, 1, 28, 28, generator=seeded()) * 2.5 - 0.5  # from black to white
    brighter = transforms.brighten(images, 0.2, seeded(), BLACK)
    factors = ((brighter + 0.5) / (images + 0.5)).flatten(1).median(1).values
    assert 0.79 < float(factors.min()) < 0.85
    assert 1.15 < float(factors.max()) < 1.21
    holes = transforms.punch(images, 5, seeded(), BLACK) != images
    assert ((holes.flatten(1).sum(1) - 25).abs() <= 1).all()  # a pixel may be black already
    noisy = transforms.add_noise(torch.full((300, 1, 28, 28), 0.75), 0.05, seeded(), BLACK, WHITE)
    assert float(noisy.std()) == pytest.approx(0.05 * 2.5, rel=0.02)
    loud = transforms.add_noise(images, 0.5, seeded(), BLACK, WHITE)
    assert (float(loud.min()), float(loud.max())) == (-0.5, 2.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_augmentation_keeps_shape_and_type_and_goes_by_its_generator(dtype: torch.dtype) -> None:
    table = AugmentationTable(True, 2, 15.0, 0.2, 0.2, 5, 0.05, 0.25)
    images = torch.rand(6, 1, 28, 28, generator=seeded()).to(dtype)
    once = transforms.augment(images, table, seeded(1), BLACK, WHITE)
    assert (once.shape, once.dtype) == (images.shape, dtype)
    assert torch.equal(once, transforms.augment(images, table, seeded(1), BLACK, WHITE))
    assert not torch.equal(once, transforms.augment(images, table, seeded(2), BLACK, WHITE))


# --- networks and loss


def test_the_mlp_has_report_bs_parameters() -> None:
    network = models.build(ModelTable(name="mlp"), 1, 28, 10)
    assert models.parameter_count(network) == 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10 == 235_146


def test_compact_has_at_most_300_000_parameters() -> None:
    assert models.parameter_count(models.build(recipes.load("compact").model, 1, 28, 10)) <= 300_000


@pytest.mark.parametrize("channels", [1, 3])
def test_resnet50_has_the_parameters_that_a_hand_count_gives(channels: int) -> None:
    norm = 2  # numbers per channel
    count = channels * 64 * 9 + norm * 64  # the stem: 3x3
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            count += inputs * width + norm * width  # 1x1
            count += width * width * 9 + norm * width  # 3x3
            count += width * 4 * width + norm * 4 * width  # 1x1
            if block == 0:
                count += inputs * 4 * width + norm * 4 * width  # the shortcut
            inputs = 4 * width
    count += 2048 * 10 + 10  # the head
    network = models.build(ModelTable(name="resnet50"), channels, 28, 10)
    assert models.parameter_count(network) == count
    if channels == 3:  # torchvision's 25,557,032, with its 7x7 stem and 1,000 classes
        assert count - 3 * 64 * 9 - 20_490 + 3 * 64 * 49 + 2048 * 1000 + 1000 == 25_557_032


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_stem_of_resnet50_makes_the_image_smaller(stride: int) -> None:
    network = models.build(ModelTable(name="resnet50", stride=stride), 1, 28, 10).eval()
    assert models.parameter_count(network) == models.parameter_count(
        models.build(ModelTable(name="resnet50"), 1, 28, 10)
    )
    seen: list[torch.Size] = []
    stages = network.encoder.get_submodule("stages")
    stages.register_forward_hook(lambda _, given, made: seen.extend((given[0].shape, made.shape)))
    with torch.no_grad():
        network(torch.randn(2, 1, 28, 28))
    assert seen == [(2, 64, 28 // stride, 28 // stride), (2, 2048, -(-28 // stride // 8), -(-28 // stride // 8))]


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize("name", ["mlp", "compact", "resnet50"])
def test_networks_give_logits_and_a_normalised_embedding(
    name: Literal["mlp", "compact", "resnet50"], size: int
) -> None:
    network = models.build(ModelTable(name=name), 1, size, 10).eval()
    with torch.no_grad():
        logits, embedding = network(torch.randn(3, 1, size, size))
    assert logits.shape == (3, 10)
    assert embedding.shape == (3, network.head.in_features)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(3))


def test_a_joint_embedding_is_a_unit_vector_that_orders_by_class_then_by_looks() -> None:
    logits = torch.tensor([[9.0, 0, 0], [9.0, 0, 0], [1.0, 0.9, 0], [0, 9.0, 0]])
    looks = functional.normalize(torch.randn(4, 6, generator=seeded()), dim=1)
    looks[2] = looks[0]
    e = models.joint_embedding(logits, looks, 0.1)
    assert e.shape == (4, 9)
    assert torch.allclose(e.norm(dim=1), torch.ones(4))
    for i in range(4):
        for j in range(4):
            p, q = logits[i].softmax(0), logits[j].softmax(0)
            rests = math.sqrt((1.1 - float(p @ p)) * (1.1 - float(q @ q)))
            expected = (float(p @ q) + rests * float(looks[i] @ looks[j])) / 1.1
            assert float(e[i] @ e[j]) == pytest.approx(expected, abs=1e-5)
    assert float(e[0] @ e[1]) > float(e[0] @ e[3])  # both sure: the class decides


def test_where_both_are_sure_class_comes_before_looks_and_where_neither_is_looks_decide() -> None:
    def score(p: tuple[float, ...], q: tuple[float, ...], cosine: float) -> float:
        looks = torch.tensor([[1.0, 0.0], [cosine, math.sqrt(1 - cosine**2)]])
        first, second = models.joint_embedding(torch.tensor([p, q]).log(), looks, 0.1)
        return float(first @ second)

    sure, other, unsure = (0.998, 0.001, 0.001), (0.001, 0.998, 0.001), (0.34, 0.33, 0.33)
    assert score(sure, sure, -1) > score(sure, other, 1)
    assert score(sure, sure, 0.5) > score(sure, sure, 0.4)
    assert score(unsure, unsure, 0.9) > score(unsure, sure, 0.4)


def test_a_network_with_looks_gives_the_joint_embedding_and_learns_looks_from_the_metric_loss_alone() -> None:
    table = ModelTable(widths=(8, 16), blocks=(1, 1), embedding=16, looks=12)
    network = models.build(table, 1, 27, 10)
    logits, vectors = network(torch.randn(4, 1, 27, 27))
    assert (logits.shape, vectors.shape, network.dimensions) == ((4, 10), (4, 12), 22)
    embedding = network.embedding(logits, (vectors,))
    assert embedding.shape == (4, 22)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(4))
    assert isinstance(network, models.NetworkWithLooks)
    logits.sum().backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in network.looks.parameters())
    network.zero_grad(set_to_none=True)
    vectors[:, 0].sum().backward()
    assert all(parameter.grad is not None for parameter in network.looks.parameters())
    assert all(parameter.grad is None for parameter in network.encoder.parameters())


@pytest.mark.parametrize(("size", "share"), [(12, 0.0), (27, 0.0), (27, 0.4), (28, 0.3)])
def test_the_shape_is_the_last_map_on_its_principal_components_and_the_small_image(size: int, share: float) -> None:
    sizes = ModelTable(widths=(4, 8, 8), blocks=(1, 1, 1), embedding=16, looks=12)
    table = replace(sizes, shape_channels=3, shape_places=5, shape_share=0.3, shape_picture=share)
    network = models.build(table, 1, size, 10).eval()
    assert isinstance(network, models.NetworkWithLooks)
    images = torch.randn(300, 1, size, size, generator=seeded())
    before = models.parameter_count(network)
    network.fit(images)
    with torch.no_grad():
        maps = network.encoder.places(images)
        logits, looks, shape = network.parts(images)
        assert network.shape is not None
        raw = network.shape(images, maps)
    places = maps.shape[2] * maps.shape[3]
    assert models.parameter_count(network) == before + 8 * 3 + places * 5 + 3 * 5 + (-(-size // 4)) ** 2
    assert torch.allclose(shape, functional.normalize(raw, dim=1), atol=1e-4)
    centred = (maps - maps.mean(0)).flatten(2).double().numpy()  # (300, 8, places)

    def axes(rows: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
        _, lengths, found = np.linalg.svd(rows, full_matrices=False)
        scaled: npt.NDArray[np.float64] = found[:count] / (lengths[:count, None] ** 2 / len(rows)) ** 0.25
        return scaled

    of_channels = axes(centred.transpose(0, 2, 1).reshape(-1, 8), 3)
    reduced = np.stack([of_channels @ image for image in centred])  # (300, 3, places)
    of_places = axes(reduced.reshape(-1, places), 5)
    expected = (reduced @ of_places.T).reshape(300, 15)
    if share:
        blocks = [
            images[:, 0, top : top + 4, left : left + 4].mean((1, 2))
            for top in range(0, size, 4)
            for left in range(0, size, 4)
        ]
        small = torch.stack(blocks, dim=1) - torch.stack(blocks, dim=1).mean(0)
        expected *= np.sqrt(1 - share) / np.linalg.norm(expected, axis=1, keepdims=True)
        assert torch.allclose(raw[:, 15:], np.sqrt(share) * functional.normalize(small, dim=1), atol=1e-4)
    assert np.allclose(np.abs(raw[:, :15].numpy()), np.abs(expected), atol=1e-3)
    embedding = network.embedding(logits, (looks, shape))
    assert embedding.shape == (300, network.dimensions) == (300, 22 + raw.shape[1])
    assert raw.shape[1] == 15 + (len(blocks) if share else 0)
    assert torch.allclose(embedding.norm(dim=1), torch.ones(300))
    first, second = embedding[0, 10:], embedding[0, 10:22]
    assert float(second.square().sum() / first.square().sum()) == pytest.approx(0.7, abs=1e-4)


def noisy(clean: torch.Tensor, sd: float) -> torch.Tensor:
    return (clean + sd * torch.randn(clean.shape, generator=seeded())).clamp(0, 1)


def garments() -> torch.Tensor:
    """(6, 1, 28, 28) from 0 to 1: rectangles with a fold, on black."""
    images = torch.zeros(6, 1, 28, 28)
    for i, image in enumerate(images):
        image[0, 3 + i : 25, 6:22] = 0.4 + 0.1 * i
        image[0, 3 + i : 25, 13] = 0.2
    return images


def test_denoise_leaves_images_without_noise_as_they_are_and_brings_noisy_ones_nearer_to_them() -> None:
    mean, sd, clean = 0.3, 0.35, garments()
    denoise = models.Denoise(torch.tensor([-mean / sd]), torch.tensor([(1 - mean) / sd]))
    normalised = (clean - mean) / sd
    assert torch.equal(denoise(normalised), normalised)
    slightly = (noisy(clean, 0.004) - mean) / sd
    assert torch.equal(denoise(slightly), slightly)
    for strength, left in ((0.03, 0.9), (0.05, 0.6), (0.08, 0.6)):
        images = noisy(clean, strength)
        found = denoise((images - mean) / sd) * sd + mean
        assert float((found - clean).square().mean()) < left * float((images - clean).square().mean())
        assert float(found.min()) > -1e-6


@pytest.mark.parametrize("channels", [1, 3])
def test_denoise_leaves_plain_images_and_texture_as_they_are(channels: int) -> None:
    denoise = models.Denoise(torch.zeros(channels), torch.ones(channels))
    texture = (torch.rand(2, channels, 28, 28, generator=seeded()) > 0.5).float() * 0.5 + 0.2
    plain = torch.stack([torch.full((channels, 28, 28), value) for value in (0.0, 0.4, 1.0)])
    for images in (texture, plain, garments().expand(-1, channels, -1, -1)):
        assert torch.equal(denoise(images), images)
    noise = noisy(torch.zeros(2, channels, 28, 28), 0.05)
    assert float(denoise(noise).mean()) < 0.3 * float(noise.mean())


def test_denoise_by_loops() -> None:
    images = noisy(garments(), 0.05)[:2]
    found = models.Denoise(torch.zeros(1), torch.ones(1))(images)
    for image, result in zip(images[:, 0].double().numpy(), found[:, 0].numpy(), strict=True):
        padded = np.pad(image, 1, mode="edge")
        around = np.array([[padded[i : i + 3, j : j + 3] for j in range(28)] for i in range(28)])  # (28, 28, 3, 3)
        means, variances = around.mean((2, 3)), around.var((2, 3))
        calm = math.sqrt(sorted(variances.ravel())[math.ceil(0.05 * 784) - 1])
        share = min(max((calm * 255 - 1.5) / 1.0, 0), 1) * min(max((10 - calm * 255) / 2, 0), 1)
        noise = 2.75 * calm
        for i in range(28):
            for j in range(28):
                kept = max(variances[i, j] - noise**2, 0) / variances[i, j] if variances[i, j] > 1e-12 else 0
                filtered = means[i, j] + kept * (image[i, j] - means[i, j])
                filtered *= min(max(means[i, j] / noise - 1, 0), 1)
                expected = image[i, j] + share * (filtered - image[i, j])
                assert result[i, j] == pytest.approx(expected, abs=2e-4)


def test_a_probe_does_not_teach_the_encoder() -> None:
    network = models.build(ModelTable(name="mlp"), 1, 28, 10)
    network.probe = True
    logits, _ = network(torch.randn(4, 1, 28, 28))
    logits.sum().backward()
    assert network.head.weight.grad is not None
    assert all(parameter.grad is None for parameter in network.encoder.parameters())


def test_glorot_is_keras_default() -> None:
    network = models.build(ModelTable(name="mlp", initialisation="glorot"), 1, 28, 10)
    assert float(network.head.bias.detach().abs().max()) == 0
    assert float(network.head.weight.detach().abs().max()) <= math.sqrt(6 / (128 + 10))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_by_loops(dtype: torch.dtype, smoothing: float) -> None:
    logits = torch.randn(9, 4, generator=seeded()).to(dtype)
    labels = torch.arange(9) % 4
    expected = 0.0
    for row, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
        total = math.log(sum(math.exp(z) for z in row))
        for i, z in enumerate(row):
            expected += ((1 - smoothing) * (i == label) + smoothing / 4) * (total - z) / 9
    objective = losses.Objective(LossTable(label_smoothing=smoothing), 4, 4)
    loss = objective(logits, functional.normalize(logits), labels, torch.arange(9))
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_an_objective_adds_the_metric_loss_by_its_weight_on_classes_or_on_views() -> None:
    logits = torch.randn(8, 4, generator=seeded())
    vectors = functional.normalize(torch.randn(8, 6, generator=seeded(1)), dim=1)
    classes, images = torch.tensor([0, 1, 2, 0, 0, 1, 2, 0]), torch.arange(4).repeat(2)
    cross_entropy = functional.cross_entropy(logits, classes)
    supcon = losses.SupCon(0.2)
    base = LossTable(0.5, metric="supcon", weight=3.0, temperature=0.2)
    for table, groups in ((base, classes), (replace(base, positives="image"), images)):
        found = losses.Objective(table, 4, 6)(logits, vectors, classes, images)
        assert torch.allclose(found, 0.5 * cross_entropy + 3 * supcon(vectors, groups))


@pytest.mark.parametrize("looks", [0, 6])
def test_the_classifier_learns_from_the_views_that_it_is_told_to(looks: int) -> None:
    network = models.build(ModelTable(widths=(8, 16), blocks=(1, 1), embedding=16, looks=looks), 1, 12, 4).eval()
    images, classes = torch.randn(8, 1, 12, 12, generator=seeded()), torch.tensor([0, 1, 2, 0]).repeat(2)
    chosen = torch.tensor([0, 5, 2, 7])
    with torch.no_grad():
        logits, vectors = network(images)
        some, same = network(images, chosen)
    assert torch.allclose(some, logits[chosen], atol=1e-5)
    assert torch.equal(vectors, same)
    objective = losses.Objective(LossTable(metric="supcon", positives="image", weight=0.5), 4, network.compared)
    found = objective(some, vectors, classes, torch.arange(4).repeat(2), chosen)
    expected = functional.cross_entropy(logits[chosen], classes[chosen])
    expected = expected + 0.5 * losses.SupCon(0.1)(vectors, torch.arange(4).repeat(2))
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_share_of_the_images_is_classified_from_the_second_view() -> None:
    def rows(share: float, views: int = 2) -> torch.Tensor | None:
        recipe = Recipe("r", loss=LossTable(second_view=share), training=TrainingTable(views=views))
        return lessons.second_views(recipe, 2000, seeded())

    for share in (0.0, 0.25, 1.0):
        found = rows(share)
        assert found is not None
        assert torch.equal(found % 2000, torch.arange(2000))  # each image once
        assert float((found >= 2000).float().mean()) == pytest.approx(share, abs=0.03)
    assert rows(0.25, 1) is None


def test_report_as_head_sees_class_probabilities_and_teaches_through_them() -> None:
    objective = losses.Objective(LossTable(0.0, metric="report-a"), 4, 6)
    assert not objective.probe
    logits = torch.randn(8, 4, generator=seeded(), requires_grad=True)
    classes = torch.tensor([0, 1, 2, 0, 0, 2, 2, 1])
    loss = objective(logits, torch.zeros(8, 6), classes, torch.arange(8))
    assert objective.metric is not None
    assert torch.allclose(loss, objective.metric(logits.softmax(1), classes))
    loss.backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) > 0
    assert losses.Objective(LossTable(0.0, metric="supcon"), 4, 6).probe


# --- schedule and split


def test_schedules() -> None:
    optimiser = OptimiserTable(learning_rate=2.0)
    constant = [state.learning_rate(optimiser, ScheduleTable("constant"), step, 100) for step in range(100)]
    assert set(constant) == {2.0}
    for name in ("cosine", "one-cycle"):
        rates = [state.learning_rate(optimiser, ScheduleTable(name, 0.2), step, 100) for step in range(100)]
        assert rates.index(max(rates)) == 20
        assert max(rates) == pytest.approx(2.0)
        assert rates[:21] == sorted(rates[:21])
        assert rates[20:] == sorted(rates[20:], reverse=True)
        assert 0 < rates[0] < 0.2
        assert 0 < rates[-1] < 0.1


def test_a_random_split_keeps_the_classes_shares_and_parts_do_not_overlap(drawn: Splits) -> None:
    training, validation = splitting.split(drawn.train, DataTable(validation=0.25), 3)
    assert validation.counts().tolist() == [5] * 10
    assert sorted(training.sources + validation.sources) == sorted(drawn.train.sources)
    assert splitting.split(drawn.train, DataTable(validation=0.25), 4)[1].sources != validation.sources


def test_the_last_share_and_the_limit(drawn: Splits) -> None:
    training, validation = splitting.split(drawn.train, DataTable(validation=0.2, split="last", limit=50), 0)
    assert training.sources == drawn.train.sources[:40]
    assert validation.sources == drawn.train.sources[40:50]


def test_a_class_without_training_images_is_named(drawn: Splits) -> None:
    by_class = drawn.train[np.argsort(drawn.train.labels, kind="stable")]  # as a folder is
    with pytest.raises(DataError, match="left of the class 'Bag'"):
        splitting.split(by_class, DataTable(validation=0.2, split="last"), 0)
    with pytest.raises(DataError, match="left of the class 'Pullover'"):
        splitting.split(by_class, DataTable(limit=40), 0)


def test_classes_left_out_are_neither_trained_on_nor_validated_on(drawn: Splits) -> None:
    training, validation = splitting.split(drawn.train, DataTable(validation=0.25, leave_out=(0, 2, 4)), 0)
    assert training.counts().tolist() == [0, 15, 0, 15, 0, 15, 15, 15, 15, 15]
    assert set(validation.labels.tolist()) == {1, 3, 5, 6, 7, 8, 9}
    for wrong in ((10,), tuple(range(9))):
        with pytest.raises(DataError, match="two at least must be left"):
            splitting.split(drawn.train, DataTable(leave_out=wrong), 0)


def test_too_few_images_and_images_without_a_class_are_refused(drawn: Splits) -> None:
    with pytest.raises(DataError, match="too few"):
        splitting.split(drawn.train[:3], DataTable(), 0)
    unlabelled = replace(drawn.train, labels=np.full(len(drawn.train), -1))
    with pytest.raises(DataError, match="without a class"):
        splitting.split(unlabelled, DataTable(), 0)


# --- the loop

TINY = {
    "data.name": "drawn",
    "widths": "[8,16]",
    "blocks": "[1,1]",
    "embedding": "16",
    "batch_size": "32",
    "epochs": "4",
}


def tiny(**changes: str) -> Recipe:
    return recipes.load("compact", {**TINY, **changes})


@pytest.mark.slow
def test_training_learns(drawn: Splits, tmp_path: Path) -> None:
    """Before it is near chance, after it knows most."""
    before = loop.train(tiny(epochs="1", learning_rate="1e-9", ema="0"), drawn.train, tmp_path / "before")
    after = loop.train(
        tiny(epochs="12", ema="0.9", label_smoothing="0", validation="0.2"), drawn.train, tmp_path / "after"
    )
    assert before.card.metrics["validation_accuracy"] < 0.4
    assert after.card.metrics["validation_accuracy"] > 0.45  # 0.53 to 0.7, by the number of threads
    right = (Encoder.load(after.model).run(drawn.test.images).logits.argmax(axis=1) == drawn.test.labels).mean()
    assert right > 0.45
    assert [line.epoch for line in after.history] == list(range(1, 13))
    assert after.history[-1].train_loss < after.history[0].train_loss


@pytest.mark.slow
def test_the_same_seed_gives_the_same_file_and_another_seed_another(drawn: Splits, tmp_path: Path) -> None:
    files = [
        loop.train(tiny(seed=seed, epochs="2"), drawn.train, tmp_path / str(i)).model for i, seed in enumerate("001")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].read_bytes() != files[2].read_bytes()


@pytest.mark.parametrize(
    "optimiser", ["sgd", *(pytest.param(name, marks=pytest.mark.slow) for name in ("adamw", "muon"))]
)
@pytest.mark.parametrize("stop_after", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_resumed_run_gives_the_same_file_as_an_unbroken_one(
    drawn: Splits, tmp_path: Path, optimiser: str, stop_after: int
) -> None:
    recipe = tiny(**{"optimiser.name": optimiser, "learning_rate": "0.01"})
    whole = loop.train(recipe, drawn.train, tmp_path / "whole")

    def stop(line: loop.Epoch) -> None:
        if line.epoch == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(recipe, drawn.train, tmp_path / "broken", watch=loop.Watch(epoch=stop))
    assert not (tmp_path / "broken" / "model.onnx").exists()
    resumed = loop.train(recipe, drawn.train, tmp_path / "broken", resume=True)
    assert resumed.model.read_bytes() == whole.model.read_bytes()
    assert [replace(line, seconds=0, images_per_second=0) for line in resumed.history] == [
        replace(line, seconds=0, images_per_second=0) for line in whole.history
    ]
    assert len((tmp_path / "broken" / "history.jsonl").read_text().splitlines()) == 4


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed(tmp_path: Path, drawn: Splits) -> None:
    """Kill -9 in the middle, twice, as a user's machine might."""
    save_folder(drawn.train, tmp_path / "pictures")
    recipe = [f"--{key}={value}" for key, value in {**TINY, "epochs": "5", "data.name": "pictures"}.items()]
    command = [sys.executable, "-c", "import vitrine.cli; vitrine.cli.main()", "train", "compact", *recipe, "--out"]
    subprocess.run([*command, tmp_path / "whole"], check=True, capture_output=True, cwd=tmp_path)
    for kill, wanted in enumerate((1, 3)):
        extra = ["--resume"] if kill else []
        process = subprocess.Popen(
            [*command, tmp_path / "broken", *extra],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=tmp_path,
        )
        history = tmp_path / "broken" / "history.jsonl"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if history.exists() and len(history.read_text().splitlines()) >= wanted:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, tmp_path / "broken", "--resume"], check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "broken" / "model.onnx").read_bytes() == (tmp_path / "whole" / "model.onnx").read_bytes()


def test_batches_of_any_size_on_two_threads() -> None:
    """In a process of its own: PyTorch's own strided 1x1 convolution ends it, or spoils its memory. See layers.py."""
    program = """
import torch
from vitrine.training import models, recipe
torch.set_num_threads(2)
torch.manual_seed(0)
for name in ("compact", "keras-resnet50"):
    changes = {"model.name": name, "data.size": "32", "widths": "[8,16]", "blocks": "[1,1]", "embedding": "16"}
    table = recipe.load("compact", changes).model
    net = models.build(table, 1, 32, 2).to(memory_format=torch.channels_last)
    for count in (9, 13, 11) if name == "compact" else (3,):
        for _ in range(10 if name == "compact" else 2):
            images = torch.randn(count, 1, 32, 32).contiguous(memory_format=torch.channels_last)
            sum(part.sum() for part in net(images) if part is not None).backward()
print("whole")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize(("padding", "groups"), [(0, 1), (1, 1), (0, 2)])
def test_our_strided_convolution_is_torchs(size: int, padding: int, groups: int) -> None:
    x = torch.randn(4, 4, size, size, generator=torch.Generator().manual_seed(0))
    ours = Conv2d(4, 6, 1, stride=2, padding=padding, groups=groups)
    trained, asked = ours(x), ours.eval()(x)
    assert torch.allclose(trained, asked, atol=1e-6)
    trained.square().sum().backward()
    learnt = ours.weight.grad
    ours.weight.grad = None
    asked.square().sum().backward()
    assert learnt is not None
    assert ours.weight.grad is not None
    assert torch.allclose(learnt, ours.weight.grad, atol=1e-4)


def test_a_class_of_which_none_is_held_out_is_named(tmp_path: Path, drawn: Splits, cli: Cli) -> None:
    """Twelve pictures of one class, one of another: nothing of the second is validated, and nothing can be compared."""
    labels = drawn.train.labels
    some = np.concatenate([np.flatnonzero(labels == 0)[:12], np.flatnonzero(labels == 1)[:1]])
    save_folder(drawn.train[some], tmp_path / "pictures")
    changes = {**TINY, "data.name": str(tmp_path / "pictures"), "epochs": "1", "validation": "0.3"}
    run = tmp_path / "run"
    code, _, err = cli("train", "compact", *(f"--{key}={value}" for key, value in changes.items()), "--out", run)
    assert code == 0
    name = drawn.train.class_names["en"][1].replace("/", "-")
    assert f"No image was held out of {name}, so the validation accuracy says nothing of it; add pictures" in err
    assert "but not compare: no class has two images among those held out, or only one class has any." in err
    picture = next((tmp_path / "pictures").rglob("*.png"))
    code, _, err = cli("compare", picture, picture, "--model", run / "model.onnx")
    assert (code, "cannot compare: its training held out too few images" in err) == (2, True)


@pytest.mark.slow
def test_a_finished_run_can_be_exported_again_with_other_keys_of_the_export(drawn: Splits, tmp_path: Path) -> None:
    looks = {"looks": "8", "metric": "supcon", "positives": "image", "views": "2", "epochs": "1"}
    first = loop.train(tiny(**looks), drawn.train, tmp_path)
    again = loop.train(tiny(**looks, looks_weight="0.5", mirror="false"), drawn.train, tmp_path, resume=True)
    assert first.card.embedding == again.card.embedding == 10 + 8
    assert first.card.identity != again.card.identity
    assert again.card.recipe["model"]["looks_weight"] == 0.5
    assert first.history == again.history


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": "contrastive"},
        {"metric": "triplet", "sampler.name": "per-class", "cross_entropy": "0"},
        {"metric": "supcon", "sampler.name": "per-class", "steps": "3", "cross_entropy": "0"},
        {"metric": "cosface"},
        {"metric": "cosface", "looks": "8", "model.dropout": "0.3"},
        {"metric": "report-a", "sampler.name": "pairs", "cross_entropy": "0", "ema": "0"},
        {"metric": "supcon", "positives": "image", "views": "2", "looks": "8", "second_view.rotate": "15"},
        {
            "metric": "supcon",
            "positives": "image",
            "views": "2",
            "looks": "8",
            "shape_channels": "2",
            "shape_places": "3",
            "shape_picture": "0.3",
            "loss.second_view": "0.3",
            "denoise": "true",
            "second_view.noise": "0.05",
        },
    ],
)
@pytest.mark.slow
def test_every_loss_trains_learns_and_resumes_to_the_same_file(
    changes: dict[str, str], drawn: Splits, tmp_path: Path
) -> None:
    recipe = tiny(**changes, epochs="3")
    whole = loop.train(recipe, drawn.train, tmp_path / "whole")
    assert whole.history[-1].train_loss < whole.history[0].train_loss

    class Stop(Exception):
        pass

    def stop(epoch: loop.Epoch) -> None:
        if epoch.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        loop.train(recipe, drawn.train, tmp_path / "broken", watch=loop.Watch(epoch=stop))
    loop.train(recipe, drawn.train, tmp_path / "broken", resume=True)
    files = [(tmp_path / run / loop.MODEL_FILE).read_bytes() for run in ("whole", "broken")]
    assert files[0] == files[1]
    table = whole.card.similarity
    assert table is not None
    assert (table.measure == "class-distance") == (changes["metric"] == "report-a")


@pytest.mark.slow
def test_a_recipe_goes_on_from_the_run_that_it_names(drawn: Splits, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"make it first: vitrine train RECIPE --out .*first"):
        loop.train(tiny(start="first", epochs="1"), drawn.train, tmp_path / "second")
    loop.train(tiny(), drawn.train, tmp_path / "first")
    trained = loop.train(tiny(start="first", epochs="1", learning_rate="0.0001"), drawn.train, tmp_path / "second")
    fresh = loop.train(tiny(epochs="1", learning_rate="0.0001"), drawn.train, tmp_path / "fresh")
    assert trained.history[0].train_loss < fresh.history[0].train_loss - 0.2
    with pytest.raises(InputError, match="of another network"):
        loop.train(tiny(start="first", widths="[8,24]"), drawn.train, tmp_path / "third")
    for changes, says in (({"leave_out": "[1]"}, "data.leave_out"), ({"seed": "1"}, "training.seed")):
        with pytest.raises(InputError, match=f"trained on other images \\({says}\\)"):
            loop.train(tiny(start="first", **changes), drawn.train, tmp_path / "fourth")


@pytest.mark.slow
def test_a_frozen_network_stays_as_it_was_and_the_head_learns(drawn: Splits, tmp_path: Path) -> None:
    loop.train(tiny(), drawn.train, tmp_path / "first")
    changes = {"start": "first", "frozen": "true", "metric": "report-a", "sampler.name": "pairs", "cross_entropy": "0"}
    head = loop.train(tiny(**changes, weight_decay="0.1", ema="0"), drawn.train, tmp_path / "second")
    before, after = (checkpoints.load(tmp_path / run).tensors for run in ("first", "second"))
    for name, value in after.items():
        if name.startswith("network."):
            assert torch.equal(value, before[name.replace("network.", "averaged.")]), name
    assert head.history[-1].train_loss < head.history[0].train_loss
    assert head.card.similarity is not None
    near, far = head.card.similarity.probabilities[0], head.card.similarity.probabilities[-1]
    assert near > far


def test_another_recipe_or_other_data_cannot_be_resumed(drawn: Splits, tmp_path: Path) -> None:
    loop.train(tiny(epochs="1"), drawn.train, tmp_path)
    with pytest.raises(InputError, match="another recipe"):
        loop.train(tiny(epochs="2"), drawn.train, tmp_path, resume=True)
    with pytest.raises(InputError, match="another data"):
        loop.train(tiny(epochs="1"), drawn.train[:150], tmp_path, resume=True)
    with pytest.raises(InputError, match=r"a run in .* already"):
        loop.train(tiny(epochs="1"), drawn.train, tmp_path)


def test_a_loss_that_explodes_is_one_sentence(drawn: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses.Objective, "forward", lambda self, logits, *rest: logits.sum() * math.inf)
    with pytest.raises(InputError, match=r"smaller optimiser\.learning_rate"):
        loop.train(tiny(), drawn.train, tmp_path)
    assert not checkpoints.exists(tmp_path)


def test_a_full_disk_keeps_the_last_checkpoint(drawn: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.fsync
    written = []

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 6:
            raise OSError(28, "No space left on device")
        whole(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        loop.train(tiny(), drawn.train, tmp_path / "run")
    monkeypatch.setattr(os, "fsync", whole)
    assert checkpoints.load(tmp_path / "run").epoch >= 1
    loop.train(tiny(), drawn.train, tmp_path / "run", resume=True)


def test_a_damaged_checkpoint_is_one_sentence(drawn: Splits, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint"):
        checkpoints.load(tmp_path)
    for content in (b"", b"x" * 100, b"\xff" * 1000):
        storage.write_bytes(tmp_path / checkpoints.FILE, content)
        with pytest.raises(InputError, match="is damaged"):
            checkpoints.load(tmp_path)


@pytest.mark.parametrize(
    "changes", [{}, {"mirror": "true"}, {"model.name": "mlp"}, {"model.name": "resnet50", "limit": "60"}]
)
@pytest.mark.slow
def test_the_model_file_answers_as_the_network(changes: dict[str, str], drawn: Splits, tmp_path: Path) -> None:
    result = loop.train(tiny(epochs="1", **changes), drawn.train, tmp_path)
    encoder = Encoder.load(result.model)
    assert encoder.run(drawn.test.images).embeddings.shape == (50, encoder.card.embedding)
    if changes.get("mirror"):
        there = encoder.run(drawn.test.images)
        back = encoder.run(np.ascontiguousarray(drawn.test.images[:, :, ::-1]))
        assert np.abs(there.embeddings - back.embeddings).max() < 1e-5


def test_colour_images_of_another_size(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 20, 20, 3), dtype=np.uint8)
    names: ClassNames = {"en": ("a", "b")}
    dataset = Dataset(images, np.arange(40) % 2, names, tuple(map(str, range(40))), "noise")
    result = loop.train(tiny(epochs="1"), dataset, tmp_path)
    assert result.card.image.shape == (20, 20, 3)
    assert len(result.card.image.mean) == 3
    assert Encoder.load(result.model).run(images).logits.shape == (40, 2)


def test_export_refuses_answers_that_differ(drawn: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnxruntime.InferenceSession

    class Off:
        def __init__(self, *arguments: object, **options: object) -> None:
            self.session = real(*arguments, **options)

        def run(self, *arguments: object) -> list[object]:
            logits, embedding = self.session.run(*arguments)
            return [logits, embedding + 2 * export.TOLERANCE]

    monkeypatch.setattr("vitrine.training.export.onnxruntime.InferenceSession", Off)
    with pytest.raises(ModelFileError, match="embedding differs from torch's"):
        loop.train(tiny(epochs="1"), drawn.train, tmp_path)
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.slow
def test_bf16_and_fp32_are_near(drawn: Splits, tmp_path: Path) -> None:
    results = [loop.train(tiny(epochs="2", precision=p), drawn.train, tmp_path / p) for p in ("bf16", "fp32")]
    assert results[0].history[0].train_loss == pytest.approx(results[1].history[0].train_loss, rel=0.02)


@pytest.mark.slow
def test_report_bs_net_reaches_the_report(real_splits: Splits, tmp_path: Path) -> None:
    """Mission B5: 0.8731 on the test set. One seed; benchmarks/report_b.py measures three."""
    result = loop.train(recipes.load("report-b-mlp"), real_splits.train, tmp_path)
    outputs = Encoder.load(result.model).run(real_splits.test.images)
    assert (outputs.logits.argmax(axis=1) == real_splits.test.labels).mean() > 0.868


@pytest.mark.slow
def test_two_epochs_of_compact_on_the_real_data(real_splits: Splits, tmp_path: Path) -> None:
    result = loop.train(recipes.load("compact", {"epochs": "2"}), real_splits.train, tmp_path)
    assert result.card.metrics["validation_accuracy"] > 0.88


def test_the_default_model_was_trained_by_the_recipe_in_the_repository(encoder: Encoder) -> None:
    recipe = recipes.load(encoder.card.name, {"seed": str(encoder.card.seed)})
    now = json.loads(json.dumps(recipe.to_json()))
    for table, entries in encoder.card.recipe.items():  # keys that came later have their defaults
        assert table == "name" or {**now[table], **entries} == now[table]
    assert encoder.card.metrics["validation_images"] == 60_000 * recipe.data.validation
