"""The virtual batch in PyTorch: its gradient, what the moving statistics see, and what stands for them at test time."""

from contextlib import nullcontext

import pytest
import torch
from tiny import TINY
from torch import nn

from koniq.engines.in_torch import precise
from koniq.network import KONCEPT512, TOLERANCE
from koniq.training import in_torch_batch
from koniq.training.in_torch import LOSSES

pytestmark = pytest.mark.numerical


def started(network=TINY, dropout=0.0):
    torch.manual_seed(1)
    module = network.build_torch(50.0)
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = dropout
    return module.train()


def batch(count, network=TINY):
    drawn = torch.Generator().manual_seed(2)
    pictures = torch.randint(0, 256, (count, *network.input_size, 3), dtype=torch.uint8, generator=drawn)
    return pictures, torch.rand(count, generator=drawn) * 100


def gradient(module):
    found = torch.cat([each.grad.flatten() for each in module.parameters() if each.grad is not None])
    module.zero_grad()
    return found


def apart(first, second):
    return float((first - second).norm() / second.norm())


def alike(found, expected):
    """Statistics of the same pictures, summed in another order."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", ["mse", "plcc"])
@pytest.mark.parametrize("micro_batch", [1, 2, 3, 8, 9])
def test_with_the_body_held_its_gradient_is_that_of_the_whole_batch(loss, micro_batch):
    module, (pictures, mos) = started(), batch(8)
    in_torch_batch.hold(module.base)
    scores = module(pictures)[:, 0]
    LOSSES[loss](scores, mos).backward()
    expected = gradient(module)
    found = in_torch_batch.backward(module, pictures, micro_batch, lambda own: LOSSES[loss](own, mos), nullcontext)
    torch.testing.assert_close(found, scores.detach(), rtol=0, atol=TOLERANCE)
    assert apart(gradient(module), expected) < 1e-4


@pytest.mark.long
def test_so_is_that_of_the_full_network():
    network = KONCEPT512.at((76, 100))
    module, (pictures, mos) = started(network), batch(4, network)
    in_torch_batch.hold(module.base)
    LOSSES["plcc"](module(pictures)[:, 0], mos).backward()
    expected = gradient(module)
    in_torch_batch.backward(module, pictures, 2, lambda own: LOSSES["plcc"](own, mos), nullcontext)
    assert apart(gradient(module), expected) < 1e-3


def test_with_the_body_live_each_micro_batch_normalises_itself():
    module, (pictures, mos) = started(), batch(8)
    features = torch.cat([module.features(group) for group in pictures.split(2)])
    LOSSES["plcc"](module.rate(features)[:, 0], mos).backward()
    expected = gradient(module)
    module = started()
    in_torch_batch.backward(module, pictures, 2, lambda own: LOSSES["plcc"](own, mos), nullcontext)
    assert apart(gradient(module), expected) < 1e-4
    LOSSES["plcc"](started()(pictures)[:, 0], mos).backward()  # and is another one than that of the whole batch
    module = started()
    LOSSES["plcc"](module(pictures)[:, 0], mos).backward()
    assert apart(gradient(module), expected) > 1e-2


def test_the_body_computes_nothing_that_it_need_not():
    """The last micro-batch once; held, what keeps no graph in larger groups."""
    module, (pictures, mos) = started(), batch(8)
    passes = []
    module.base[0].register_forward_pre_hook(lambda layer, inputs: passes.append((len(inputs[0]), layer.training)))
    in_torch_batch.backward(module, pictures, 2, lambda own: LOSSES["mse"](own, mos), nullcontext)
    assert passes == [(2, True)] * 7
    passes.clear()
    in_torch_batch.hold(module.base)
    in_torch_batch.backward(module, pictures, 2, lambda own: LOSSES["mse"](own, mos), nullcontext)
    assert [count for count, _ in passes] == [6, 2, 2, 2, 2]


def test_the_moving_statistics_see_each_picture_once_and_forget_as_fast_as_those_of_the_batch():
    module, (pictures, mos) = started(), batch(8)
    in_torch_batch.share(module, 4)
    norm = in_torch_batch.norms(module.base)[0]
    assert norm.momentum == pytest.approx(1 - 0.9**0.25)
    in_torch_batch.backward(module, pictures, 2, lambda own: LOSSES["mse"](own, mos), nullcontext)
    by_hand = started()
    in_torch_batch.share(by_hand, 4)
    with torch.no_grad():
        for group in pictures.split(2):
            by_hand.features(group)
    found, expected = (in_torch_batch.norms(each.base) for each in (module, by_hand))
    for ours, theirs in zip(found, expected, strict=True):
        alike(ours.running_mean, theirs.running_mean)
        alike(ours.running_var, theirs.running_var)
    assert norm.momentum == pytest.approx(1 - 0.9**0.25)  # as it was
    head = in_torch_batch.norms(module.fc)[0]
    assert head.momentum == 0.1
    assert int(head.num_batches_tracked) == 1


def test_held_statistics_stay_and_the_body_still_learns():
    module, (pictures, mos) = started(), batch(4)
    in_torch_batch.hold(module.base)
    norm = in_torch_batch.norms(module.base)[0]
    in_torch_batch.backward(module, pictures, 2, lambda own: LOSSES["mse"](own, mos), nullcontext)
    assert norm.running_mean.abs().max() == 0
    assert norm.bias.grad.abs().max() > 0
    module.train()
    assert norm.training


@pytest.mark.parametrize("micro_batch", [1, 2, 8])
def test_trailing_statistics_move_towards_those_of_the_batch_whatever_the_micro_batch(micro_batch):
    module, (pictures, mos) = started(), batch(8)
    in_torch_batch.reestimate(module, [pictures], 8, nullcontext)
    in_torch_batch.hold(module.train().base)
    norm = in_torch_batch.norms(module.base)[0]
    mean, variance = norm.running_mean.clone(), norm.running_var.clone()
    others, trail = 255 - pictures, in_torch_batch.Trail(module)
    in_torch_batch.backward(module, others, micro_batch, lambda own: LOSSES["mse"](own, mos), nullcontext, trail)
    alike(norm.running_mean, mean)  # of the batch before, in both passes
    trail.update()
    seen = module.base[0](others.permute(0, 3, 1, 2).float() / 127.5 - 1).relu()
    about = (seen - mean[None, :, None, None]).square().mean((0, 2, 3))
    alike(norm.running_mean, 0.9 * mean + 0.1 * seen.mean((0, 2, 3)))
    alike(norm.running_var, 0.9 * variance + 0.1 * about)


def test_reestimated_statistics_are_the_averages_over_the_batches():
    module, (pictures, _) = started(dropout=0.5), batch(12)
    module.features(pictures)  # what they were does not matter
    in_torch_batch.reestimate(module, pictures.split(4), 2, nullcontext)
    first = module.base[0](pictures.permute(0, 3, 1, 2).float() / 127.5 - 1).relu()
    groups = torch.stack([group.var((0, 2, 3)) for group in first.split(2)])
    norm = in_torch_batch.norms(module.base)[0]
    alike(norm.running_mean, first.mean((0, 2, 3)))
    alike(norm.running_var, groups.mean(0))
    assert not any(layer.training for layer in module.modules())
    assert {layer.momentum for layer in in_torch_batch.norms(module)} == {0.1}
    again = started(dropout=0.0)
    in_torch_batch.reestimate(again, pictures.split(4), 2, nullcontext)  # dropout has no part in it
    for ours, theirs in zip(module.state_dict().values(), again.state_dict().values(), strict=True):
        alike(ours, theirs)


def test_dropout_is_drawn_once_for_the_batch():
    module, (pictures, mos) = started(dropout=0.5), batch(4)
    in_torch_batch.hold(module.base)
    torch.manual_seed(7)
    expected = module(pictures)[:, 0].detach()
    torch.manual_seed(7)
    found = in_torch_batch.backward(module, pictures, 2, lambda own: LOSSES["mse"](own, mos), nullcontext)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


def test_in_bfloat16_the_gradient_is_near():
    def precisely():
        return precise(torch.device("cpu"), "mixed_bfloat16")

    module, (pictures, mos) = started(), batch(8)
    in_torch_batch.hold(module.base)
    in_torch_batch.backward(module, pictures, 8, lambda own: LOSSES["mse"](own, mos), nullcontext)
    expected = gradient(module)
    in_torch_batch.backward(module, pictures, 2, lambda own: LOSSES["mse"](own, mos), precisely)
    assert 0 < apart(gradient(module), expected) < 0.05
