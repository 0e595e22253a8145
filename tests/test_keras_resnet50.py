"""Report A's encoder. That it computes what Keras computes, benchmarks/keras_resnet50.py shows, which needs Keras."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vitrine.training.keras_resnet50 import FEATURES, KerasResNet50
from vitrine.training.models import Network

# By Keras 3.15, of ResNet50(weights=None, classes=10, input_shape=(32, 32, 1)): all, and those that learn
PARAMETERS, TRAINABLE, TRAINABLE_UNFROZEN = 23_601_930, 8_951_818, 23_548_810


def make(frozen: bool = True) -> Network:
    torch.manual_seed(0)
    return Network(KerasResNet50(channels=1, frozen=frozen), FEATURES, classes=10, dropout=0.0)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand((4, 1, 32, 32), generator=torch.Generator().manual_seed(1))


def train_a_step(network: Network, images: Tensor) -> None:
    """One step of Adam on all parameters, gradients left in place."""
    optimiser = torch.optim.Adam(network.parameters())
    network.train()
    loss = functional.cross_entropy(network(images)[0], torch.arange(len(images)))
    loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
    optimiser.step()


def copies(part: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in part.state_dict().items()}


def changed(part: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in part.state_dict().items() if not torch.equal(value, before[name])}


def test_parameters_are_as_many_as_keras_counts() -> None:
    network = make()
    running = sum(value.numel() for name, value in network.named_buffers() if "running" in name)  # Keras counts them
    assert sum(value.numel() for value in network.parameters()) + running == PARAMETERS
    assert sum(value.numel() for value in network.parameters() if value.requires_grad) == TRAINABLE
    unfrozen = make(frozen=False)
    assert sum(value.numel() for value in unfrozen.parameters() if value.requires_grad) == TRAINABLE_UNFROZEN


def test_initial_weights_are_keras_s() -> None:
    convolution, norm = make().encoder.get_submodule("stem").children()
    assert isinstance(convolution.weight, Tensor)
    assert isinstance(convolution.bias, Tensor)
    limit = (6 / (7 * 7 * (1 + 64))) ** 0.5  # Glorot, uniform
    assert 0.99 * limit < convolution.weight.max() <= limit
    assert not convolution.bias.any()
    assert isinstance(norm.weight, Tensor)
    assert (norm.weight == 1).all()


def test_a_step_changes_the_last_two_blocks_and_nothing_before(images: Tensor) -> None:
    network = make()
    before = copies(network.encoder)
    train_a_step(network, images)
    names = {name.partition(".")[0] for name in changed(network.encoder, before)}
    assert names == {"rest"}
    frozen = [network.encoder.get_submodule(name) for name in ("stem", "prefix")]
    assert all(parameter.grad is None for part in frozen for parameter in part.parameters())
    norms = [module for part in frozen for module in part.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 1 + 4 * 4 + 10 * 3  # stem; the four first blocks have a shortcut's
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert not norm.running_mean.any()
        assert (norm.running_var == 1).all()


def test_the_frozen_part_answers_in_training_as_in_inference(images: Tensor) -> None:
    encoder = make().encoder
    seen = []
    encoder.get_submodule("prefix").register_forward_hook(lambda module, inputs, output: seen.append(output))
    features = [encoder.train(mode)(images) for mode in (True, False)]
    assert torch.equal(seen[0], seen[1])
    assert not seen[0].requires_grad
    assert not torch.allclose(features[0], features[1])  # the blocks after it do take the batch's statistics
    assert features[0].requires_grad


def test_features_and_a_step_without_freezing(images: Tensor) -> None:
    network = make(frozen=False)
    before = copies(network.encoder)
    assert network.encoder(images).shape == (4, FEATURES)
    train_a_step(network, images)
    assert "stem.0.weight" in changed(network.encoder, before)
