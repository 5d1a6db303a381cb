"""Names of files that parameters make."""

import pytest

from ku.names import ShortNameBuilder

pytestmark = pytest.mark.any_backend


def test_names_carry_sorted_parts():
    name = ShortNameBuilder("koncept", loss="mse", bsz=8)
    assert name() == "koncept_bsz8_lossmse"
    assert name(lr=1e-4, bsz=4) == "koncept_bsz4_lossmse_lr0.0001"
    assert dict(name) == {"loss": "mse", "bsz": 8}
    name.update(loss=test_names_carry_sorted_parts)
    assert name.subset(["loss"])() == "koncept_losstest_names_carry_sorted_parts"
    assert ShortNameBuilder(sep=("=", ","), a=(1, [2, "x"]), b=None)() == "a=1,2,x,b=None"
    with pytest.raises(ValueError, match="Received: missing"):
        name.subset("missing")


def test_long_values_stay_distinct_and_short():
    name = ShortNameBuilder(max_len=20)
    texts = {name(a="x" * n) for n in (19, 20, 21, 22)}
    assert len(texts) == 4
    assert {len(text) for text in texts} == {20, 21}  # the key and up to 20
    assert len(ShortNameBuilder("p", **{f"key{i}": "é" * 16 for i in range(40)})().encode()) <= 200


@pytest.mark.parametrize("value", ['a/b\\c:d*e?f"g<h>i|j', "line\nbreak\x00", "dot.", "space ", "../..", object(), "ü"])
def test_names_are_legal_everywhere(tmp_path, value):
    name = ShortNameBuilder("", v=value)()
    assert not set(name) & set('/\\:*?"<>|\n\x00')
    assert name[-1] not in ". "
    assert "0x" not in name
    (tmp_path / name).write_text("")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_device_names_are_avoided():
    assert ShortNameBuilder("con")() == "_con"
    assert ShortNameBuilder("Nul.x")() == "_Nul.x"
    assert ShortNameBuilder("concept")() == "concept"
