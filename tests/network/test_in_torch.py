"""KonCept512 in PyTorch is the network that it is in Keras: every stage of it, every file of weights."""

import copy
import shutil

import drawn
import keras
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from koniq.engines import conversion
from koniq.ground import InputError
from koniq.network import KONCEPT512, TOLERANCE, in_torch, sidecar, weights
from koniq.network.koncept512 import CHILDREN
from koniq.network.layers import to_keras, to_torch

SMALL = KONCEPT512.at((76, 100))
PICTURES = drawn.pictures(8, SMALL.input_size)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The whole network in Keras and in PyTorch with one set of weights, drawn, and the file that it came by."""
    module = drawn.module_of(SMALL, PICTURES)
    path = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    save_file(module.state_dict(), path)
    model = SMALL.build()
    weights.load(model, path)
    return model, module, path


def scores(module):
    return drawn.scores(module, PICTURES)


@pytest.mark.numerical
def test_every_stage_and_the_score_agree(networks):
    model, module, _ = networks
    activations = [layer.name for layer in model.layers if type(layer).__name__ == "Activation"]
    pools = [layer.name for layer in model.layers if type(layer).__name__ == "MaxPooling2D"]
    names = [*activations[:3], pools[0], *activations[3:5], pools[1], "mixed_5b", "block35_10_ac", "mixed_6a"]
    names += ["block17_20_ac", "mixed_7a", "block8_9_ac", model.get_layer("conv_7b").input._keras_history[0].name]
    names += ["conv_7b_ac", "final_gap"]
    names += [layer.name for layer in model.layers if layer.name.startswith("fc_")]
    expected = keras.Model(model.input, [model.get_layer(name).output for name in names])(PICTURES, training=False)
    received = []
    stages = [*module.base, *(layer for layer in module.fc if not isinstance(layer, torch.nn.ReLU))]
    hooks = [stage.register_forward_hook(lambda _, inputs, output: received.append(output)) for stage in stages]
    final = scores(module)
    for hook in hooks:
        hook.remove()
    assert len(received) == len(names)
    for name, ours, theirs in zip(names, received, expected, strict=True):
        ours = ours.squeeze() if name == "final_gap" else ours.movedim(1, -1) if ours.ndim == 4 else ours
        if name.startswith("fc_fc"):
            ours = ours.relu()  # Keras's layer has its activation within
        theirs = np.asarray(theirs)
        assert ours.shape == theirs.shape, name
        assert np.abs(ours.detach().numpy() - theirs).max() < 1e-4 * np.abs(theirs).max(), name
    assert np.ptp(final) > 15
    np.testing.assert_allclose(final, expected[-1], atol=TOLERANCE, rtol=0)
    stages = dict(module.named_modules())
    for name in ("base.0.bn", "fc.2", "fc.10"):  # PyTorch's own epsilon in a single one of them would be seen
        stages[name].eps = 1e-5
        assert np.abs(scores(module) - final).max() > 5 * TOLERANCE, name
        stages[name].eps = in_torch.EPSILON


@pytest.mark.parametrize("suffix", [".pth", ".h5", ".weights.h5"])
def test_weights_go_to_every_format_and_back_unchanged(networks, tmp_path, suffix):
    model, _, path = networks
    shutil.copy(path, tmp_path / "first.safetensors")
    sidecar.write_record(tmp_path / "first.safetensors", SMALL)
    there, back = tmp_path / f"there{suffix}", tmp_path / "back.safetensors"
    conversion.convert(tmp_path / "first.safetensors", there)
    conversion.convert(there, back)
    expected, received = load_file(path), load_file(back)
    kept = {key for key in expected if not key.endswith("num_batches_tracked")}
    assert received.keys() == kept
    assert all(torch.equal(expected[key], received[key]) for key in kept)
    assert sidecar.network_of(back) == SMALL
    if suffix != ".pth":
        weights.load(model, there)
        model.load_weights(there)  # Keras's own reading


@pytest.mark.numerical
@pytest.mark.long
def test_a_scale_that_keras_has_not_is_folded_in(networks):
    """A public port's file may have one; the scores stay."""
    _, module, _ = networks
    other = copy.deepcopy(module)
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if name.endswith("bn.weight"):
                parameter.copy_(torch.rand(parameter.shape, generator=rng) - 0.1)
    state = {key: tensor.numpy() for key, tensor in other.state_dict().items() if "tracked" not in key}
    folded = to_torch(to_keras(state, SMALL.layers), SMALL.layers)
    assert (folded["base.0.bn.weight"] == 1).all()
    expected = scores(other)
    other.load_state_dict({key: torch.from_numpy(array) for key, array in folded.items()}, strict=False)
    np.testing.assert_allclose(scores(other), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.long
def test_the_public_names_of_the_body_load(networks, tmp_path):
    """As in timm's and Cadene's files, with their classifier and whatever a wrapper put before the names."""
    _, module, _ = networks
    state = {}
    for key, tensor in module.state_dict().items():
        first, _, rest = key.partition(".")
        if first == "base":
            number, _, rest = rest.partition(".")
            state[f"module.{CHILDREN[int(number)]}.{rest}"] = tensor
    state["module.classif.weight"] = torch.zeros(1000, 1536)
    torch.save({"state_dict": state}, tmp_path / "timm.pth")
    other = SMALL.build_torch().eval()
    assert weights.load_module(other, tmp_path / "timm.pth", SMALL, body=True) is False
    pictures = torch.from_numpy(PICTURES[:2]).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        assert torch.equal(other.base(pictures), module.base(pictures))
    conversion.convert(tmp_path / "timm.pth", tmp_path / "notop.h5")
    assert weights.load_module(other, tmp_path / "notop.h5", SMALL, body=True) is False
    with pytest.raises(
        InputError, match=r"expected 'fc\.0' \(2048, 1536\) \(2048,\)\. Received: 'fc\.0' \(not there\)"
    ):
        weights.load_module(other, tmp_path / "timm.pth", SMALL)


def test_what_does_not_fit_is_refused_by_its_first_layer_with_both_shapes(networks, tmp_path):
    state = load_file(networks[2])
    state["base.2.conv.weight"] = torch.zeros(64, 32, 5, 5)
    save_file(state, tmp_path / "other.safetensors")
    other = SMALL.build_torch()
    before = other.base[0].conv.weight.clone()
    expected = r"expected 'base\.2\.conv' \(64, 32, 3, 3\)\. Received: 'base\.2\.conv' \(64, 32, 5, 5\)"
    with pytest.raises(InputError, match=expected):
        weights.load_module(other, tmp_path / "other.safetensors", SMALL)
    assert torch.equal(other.base[0].conv.weight, before)
    save_file(load_file(networks[2]) | {"fc.99.weight": torch.zeros(3)}, tmp_path / "more.safetensors")
    with pytest.raises(InputError, match=r"expected nothing \(no more layers\)\. Received: 'fc\.99' \(3,\)"):
        weights.load_module(other, tmp_path / "more.safetensors", SMALL)
