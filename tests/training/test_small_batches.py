"""A batch in the memory of a few pictures, in Keras and in PyTorch: the same words, and the same numbers."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
import torch
from tiny import TINY

from koniq.network.layers import to_torch
from koniq.training import in_torch_batch
from koniq.training.in_torch_losses import LOSSES
from ku import batch_norm
from ku.tensor_ops import plcc_loss
from ku.virtual_batch import VirtualBatch, split

pytestmark = [
    pytest.mark.numerical,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow only"),
]

BATCH, KEPT = 8, 0.9  # pictures; what a batch keeps of the moving statistics
PICTURES = np.random.default_rng(0).integers(0, 256, (BATCH, *TINY.input_size, 3), np.uint8)
MOS = np.random.default_rng(1).uniform(0, 100, BATCH).astype(np.float32)


class Reveal(keras.optimizers.SGD):
    """Puts the gradient in the place of each weight."""

    def update_step(self, gradient, variable, learning_rate):
        variable.assign(gradient)


def state(model):
    """All that is in the layers of the Keras network, by PyTorch's names."""
    layers = [(layer.name, [weight.numpy() for weight in layer.weights]) for layer in model.layers if layer.weights]
    return to_torch(layers, TINY.layers)


def pair():
    """The network in Keras and in PyTorch, of the same weights and without dropout."""
    keras.utils.set_random_seed(3)
    model, module = TINY.build(), TINY.build_torch(0.0)
    rng = np.random.default_rng(3)
    for layer in batch_norm.norms(model):
        layer.momentum = KEPT
        layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    for layer in module.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0
    for layer in in_torch_batch.norms(module):
        layer.momentum = 1 - KEPT
    weights = {name: torch.from_numpy(array) for name, array in state(model).items()}
    module.load_state_dict(module.state_dict() | weights)
    return model, module.train()


def sampled(name, micro_batch):
    """How much larger than Keras's a variance is that PyTorch sees live: n / (n - 1), of n values at a time."""
    seen = {"base.2.running_var": 11 * 15 * micro_batch, "base.5.running_var": 5 * 7 * micro_batch}.get(name, BATCH)
    return seen / (seen - 1)


@pytest.mark.parametrize("loss", ["mse", "plcc"])
@pytest.mark.parametrize("micro_batch", [2, 4])
@pytest.mark.parametrize("body", ["live", "held", "trailing"])
def test_a_step_has_the_same_gradients_and_moves_the_statistics_alike(body, micro_batch, loss):
    model, module = pair()
    before = state(model)
    if body == "held":
        batch_norm.hold(split(model, "gap").body)
    how = {"cut": "gap", "micro_batch": micro_batch, "trailing": body == "trailing"}
    ours = VirtualBatch(model.input, model.output, **how)
    ours.compile(Reveal(1.0), plcc_loss if loss == "plcc" else loss, jit_compile=False)
    ours.train_on_batch(PICTURES, MOS[:, None])

    if body == "live":
        in_torch_batch.share(module, BATCH // micro_batch)
    else:
        in_torch_batch.hold(module.base)
    trail = in_torch_batch.Trail(module) if body == "trailing" else nullcontext()
    pictures, mos = torch.from_numpy(PICTURES), torch.from_numpy(MOS)
    in_torch_batch.backward(module, pictures, micro_batch, lambda scores: LOSSES[loss](scores, mos), nullcontext, trail)
    if body == "trailing":
        trail.update()

    found = {name: array.numpy() for name, array in module.state_dict().items()}
    found |= {name: weight.grad.numpy() for name, weight in module.named_parameters()}
    for name, expected in state(ours).items():
        if name.endswith("running_var") and (body == "live" or name.startswith("fc.")):
            kept = KEPT * before[name]
            expected = kept + (expected - kept) * sampled(name, micro_batch)
        largest = abs(expected).max()
        np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-4 * largest + 1e-6, err_msg=name)


@pytest.mark.parametrize("micro_batch", [2, 4])
def test_reestimated_statistics_are_the_same(micro_batch):
    model, module = pair()
    parts = split(model, "gap")
    batches = [([PICTURES], [MOS]), ([255 - PICTURES], [MOS])]
    batch_norm.Reestimate(parts.body, parts.head, batches, micro_batch).estimate()
    pictures = [torch.from_numpy(inputs) for (inputs,), _ in batches]
    in_torch_batch.reestimate(module, pictures, micro_batch, nullcontext)
    found = module.state_dict()
    for name, expected in state(model).items():
        if name.endswith("running_var"):
            expected = expected * sampled(name, micro_batch)
        np.testing.assert_allclose(found[name].numpy(), expected, rtol=1e-3, atol=1e-5, err_msg=name)
