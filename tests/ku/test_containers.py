"""Lists, tuples and dictionaries."""

import numpy as np
import pytest

from ku import containers

pytestmark = pytest.mark.any_backend


def test_force_list_and_tuple():
    assert containers.force_list((1, 2)) == [1, 2]
    assert containers.force_list("ab") == ["ab"]
    assert containers.force_tuple([1, 2]) == (1, 2)
    array = np.zeros(3)
    assert containers.force_tuple(array)[0] is array
    given = [1]
    assert containers.force_list(given) is not given


@pytest.mark.parametrize("count", [0, 5, 6, 7])
def test_chunks_cover_everything_once(count):
    parts = list(containers.chunks(list(range(count)), 3))
    assert [item for part in parts for item in part] == list(range(count))
    assert all(len(part) == 3 for part in parts[:-1])
    assert all(parts)
    with pytest.raises(ValueError, match="Received: n=0"):
        next(containers.chunks([1], 0))


def test_keys_and_updates():
    d = {"a": 1, "b": 2}
    assert containers.updated_dict(d, b=3, c=4) == {"a": 1, "b": 3}
    assert containers.updated_dict(d, only_existing=False, c=4) == {"a": 1, "b": 2, "c": 4}
    assert d == {"a": 1, "b": 2}
    containers.check_keys_exist({"a": 5}, d)
    with pytest.raises(ValueError, match=r"among a, b\. Received: c, e$"):
        containers.check_keys_exist({"c": 1, "a": 1, "e": 2}, d)


def test_update_config_sets_all_or_nothing():
    class Config:
        kind = "small"

        def __init__(self):
            self.size = 1

    config, items = Config(), {"size": 1, "kind": "small"}
    for target in (config, items):
        containers.update_config(target, size=2, kind="large")
        with pytest.raises(ValueError, match="Received: colour"):
            containers.update_config(target, size=3, colour="red")
    assert (config.size, config.kind) == (2, "large")
    assert items == {"size": 2, "kind": "large"}


def test_get_sizes():
    x = ([np.zeros((2, 224, 224, 3))], [np.zeros((2, 1))])
    assert containers.get_sizes(x) == "([array<2,224,224,3>], [array<2,1>])"
    assert containers.get_sizes(["a", 1, {}, np.float32(3), ()], "x") == "[<1>, <1>, <1>, <1>, ()]"
