"""The held parts of koncept_lite: what is kept of them is what they give, and training leaves them as they were."""

import numpy as np
import pandas as pd
import pytest
import torch

from koniq.ground import InputError
from koniq.network.in_torch import koncept512, koncept_lite
from koniq.pictures.order import Seen
from koniq.training.in_torch_held import Held, Tail

SIZE = (64, 80)


class Drawn(Seen):
    """Pictures that are noise, each of its own brightness."""

    def __getitem__(self, image_name):
        number = int(image_name)
        rng = np.random.default_rng(number)
        return rng.integers(0, 60 + 40 * number, (*SIZE, 3), dtype=np.uint8)


NAMES = pd.DataFrame({"image_name": [str(number) for number in range(5)]})


def network(seed=0):
    torch.manual_seed(seed)
    module = koncept_lite(50.0)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    return module


def held(tail, tmp_path):
    return Held(tail, NAMES, Drawn(), tmp_path, torch.device("cpu"), "float32", quiet=True)


@pytest.mark.numerical
@pytest.mark.parametrize("hold", [1, 6, pytest.param(16, marks=pytest.mark.long), 17])
def test_what_is_kept_gives_the_features_of_the_whole(tmp_path, hold):
    module = network().eval()
    tail = Tail(module, hold)
    kept = held(tail, tmp_path)
    tail.map_shape = kept.map_shape
    for flip in (False, True):
        pictures = np.stack([Drawn().seen(name, flip) for name in NAMES.image_name])
        with torch.no_grad():
            expected = module.features(torch.from_numpy(pictures.copy()))
            found = tail.features(torch.from_numpy(np.stack([kept.stored(name, flip) for name in NAMES.image_name])))
        assert found.shape == (5, 4096)
        assert (found - expected).abs().max() < 2e-3 * expected.abs().max()  # they are kept in half precision
        apart = (expected - expected.flip(0)).abs().amax(1)  # pictures and their order are told apart by it
        assert ((found - expected).abs().amax(1)[apart > 0] < apart[apart > 0]).all()


@pytest.mark.parametrize("hold", [pytest.param(6, marks=pytest.mark.long), 17])
def test_what_is_held_does_not_train_and_the_rest_does(tmp_path, hold):
    module = network()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    tail = Tail(module, hold)
    kept = held(tail, tmp_path)
    tail.map_shape = kept.map_shape
    adam = torch.optim.Adam([each for each in tail.parameters() if each.requires_grad], 1e-2)
    tail.train()
    tail(torch.from_numpy(np.stack([kept.stored(name, False) for name in NAMES.image_name]))).square().sum().backward()
    adam.step()
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    parts = (
        [f"base.blocks.{number}." for number in range(hold, 16)] + ["base.top.conv"] * (hold < 17) + ["fc.2", "fc.5"]
    )
    assert all(any(name.startswith(part) for name in changed) for part in parts)
    still = (
        "base.stem.",
        *(f"base.blocks.{number}." for number in range(min(hold, 16))),
        *["base.top."] * (hold == 17),
    )
    assert not [name for name in changed if name.startswith(tuple(still))]


def test_what_cannot_be_held_is_refused():
    with pytest.raises(InputError, match=r"at most 17, the parts of this network that can be held. Received: hold=18"):
        Tail(koncept_lite(), 18)
    with torch.device("meta"), pytest.raises(InputError, match=r"koncept_lite. Received: hold=3"):
        Tail(koncept512(), 3)
