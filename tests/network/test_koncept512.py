"""KonCept512 as Keras has it and as the study's PyTorch network is: told apart, and the same in every framework."""

import drawn
import numpy as np
import port
import pytest
import torch
from safetensors.torch import save_file

import koniq
from koniq.engines import conversion, in_onnx, numbers
from koniq.engines.plan import decide
from koniq.fetch.sources import ITEMS
from koniq.ground import InputError
from koniq.network import KONCEPT512, KONCEPT_LITE, TOLERANCE, network_of, read_state, sidecar, weights
from koniq.network.koncept512 import AS_KERAS, PORT, STUDY_PORT, Topology, places

SIZE = (299, 331)  # of which the last map has 8x9 places
STUDY = KONCEPT512.at(SIZE).built_as(STUDY_PORT)
PICTURES = drawn.pictures(3, SIZE)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A network like the study's, its weights drawn, and its file as the study gave it out: with nothing beside it."""
    module = drawn.module_of(STUDY, PICTURES)
    path = tmp_path_factory.mktemp("study") / "KonCept512.pth"
    torch.save(module.state_dict(), path)
    return module, path


def test_a_map_has_ten_by_fourteen_places_at_the_studys_size():
    assert [places(size) for size in (384, 512, 299, 298, 76)] == [10, 14, 8, 7, 1]
    with pytest.raises(InputError, match=r"8 to 15 places along each side, for pooling=8x8\. Received: 1x1 places"):
        KONCEPT512.at((76, 100)).built_as(STUDY_PORT)
    with pytest.raises(InputError, match=r"pooling=8x8\. Received: 22x30 places"):
        STUDY.at((768, 1024))
    with pytest.raises(InputError, match=r"and body_scale are of koncept512\. Received: koncept_lite, pooling=8x8"):
        KONCEPT_LITE.built_as(STUDY_PORT)


@pytest.mark.numerical
def test_every_stage_is_that_of_the_network_stated_plainly(study):
    module, _ = study
    received = []
    stages = [*module.base, *(layer for layer in module.fc if not isinstance(layer, torch.nn.ReLU | torch.nn.Dropout))]
    hooks = [stage.register_forward_hook(lambda _, inputs, output: received.append(output)) for stage in stages]
    final = drawn.scores(module, PICTURES)
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        expected = port.stages(module.state_dict(), torch.from_numpy(PICTURES))
    assert len(received) == len(expected) == 23
    for number, (ours, theirs) in enumerate(zip(received, expected, strict=True)):
        assert ours.shape == theirs.shape, number
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max(), number
    assert np.ptp(final) > 15
    np.testing.assert_allclose(final, expected[-1], atol=TOLERANCE, rtol=0)


@pytest.mark.numerical
def test_each_difference_to_the_network_of_keras_moves_the_scores(study):
    module, _ = study
    final, state = drawn.scores(module, PICTURES), module.state_dict()
    for other in (Topology("mean", 1e-5, True), Topology("8x8", 1e-3, True)):
        network = KONCEPT512.at(SIZE).built_as(other).build_torch().eval()
        network.load_state_dict(state)
        assert np.abs(drawn.scores(network, PICTURES) - final).max() > 5 * TOLERANCE, other
    assert all(norm.weight.requires_grad for norm in module.base.modules() if isinstance(norm, torch.nn.BatchNorm2d))
    keras_like = KONCEPT512.build_torch()
    assert not any(n.weight.requires_grad for n in keras_like.base.modules() if isinstance(n, torch.nn.BatchNorm2d))


def test_weights_that_no_record_tells_apart_are_asked_about(study):
    _, path = study
    with pytest.raises(
        InputError, match=r"has no record \(KonCept512\.json beside it\), .* cannot be told\. Say --poo"
    ):
        read_state(path, network_of(path))
    with pytest.raises(InputError, match="Say --pooling 8x8 if it is the study's PyTorch network"):
        koniq.load(path, engine="torch", device="cpu")(PICTURES[0])
    assert network_of(path, pooling="8x8").topology == STUDY_PORT
    assert network_of(path, pooling="mean").topology == PORT
    assert koniq.load(path, pooling="8x8").network.topology == STUDY_PORT
    assert read_state(path, network_of(path, SIZE, pooling="8x8")).keys() == read_state(path, STUDY).keys()


def test_what_is_keras_s_is_not_taken_for_another(tmp_path):
    path = tmp_path / "keras_like.safetensors"
    state = drawn.module_of(KONCEPT512.at((76, 100)), drawn.pictures(4, (76, 100))).state_dict()
    save_file(state, path)
    assert network_of(path).topology == AS_KERAS
    read_state(path, KONCEPT512)
    with pytest.raises(InputError, match=r"learnt no scale: it is Keras's KonCept512, of pooling=mean, .*Leave --pool"):
        read_state(path, network_of(path, pooling="8x8"))
    conversion.convert(path, tmp_path / "original.h5")
    with pytest.raises(InputError, match=r"are of pooling=mean, by their format, Keras's\. Received: pooling=8x8"):
        network_of(tmp_path / "original.h5", pooling="8x8")
    with pytest.raises(InputError, match="learnt no scale: it is Keras's KonCept512"):  # as a start of the other
        weights.load_module(STUDY.build_torch(), tmp_path / "original.h5", STUDY)
    body = tmp_path / "notop.h5"
    conversion.convert(path, body, body=True)
    module = STUDY.build_torch()
    assert weights.load_module(module, body, STUDY, body=True) is False  # ImageNet's body is the start of either
    assert torch.equal(module.base[0].conv.weight, state["base.0.conv.weight"])
    assert (module.base[0].bn.weight == 1).all()
    sidecar.write_record(path, KONCEPT512)
    with pytest.raises(InputError, match=r"should have weights of koncept512 with pooling=8x8, .*Received: pooling=me"):
        weights.load_module(module, path, STUDY)


@pytest.fixture(scope="module")
def converted(study, tmp_path_factory):
    """Its file as others, by their endings; the record goes along, and from then on nobody is asked."""
    folder, found = tmp_path_factory.mktemp("converted"), {}
    for suffix in (".safetensors", ".h5", ".weights.h5"):
        found[suffix] = folder / f"as{suffix.replace('.', '_')}{suffix}"
        conversion.convert(study[1], found[suffix], pooling="8x8")
        assert sidecar.record(found[suffix])["input_size"] == list(KONCEPT512.input_size)
        sidecar.write(found[suffix], sidecar.record(found[suffix]) | {"input_size": list(SIZE)})
    return found


@pytest.mark.parametrize("suffix", [".safetensors", ".h5", ".weights.h5"])
def test_the_studys_network_goes_to_every_format_and_back(study, converted, tmp_path, suffix):
    module, path = study[0], converted[suffix]
    assert network_of(path) == STUDY
    with pytest.raises(InputError, match=r"pooling=8x8, by the record beside them .*Received: pooling=mean"):
        network_of(path, pooling="mean")
    conversion.convert(path, tmp_path / "back.pth")
    assert network_of(tmp_path / "back.pth") == STUDY
    back, first = read_state(tmp_path / "back.pth", STUDY), module.state_dict()
    assert all(np.array_equal(array, first[key].numpy()) for key, array in back.items())


@pytest.mark.numerical
def test_openvino_scores_by_the_studys_weights_as_pytorch_does(study, converted):
    same_scores(study[0], converted[".h5"], "openvino")


@pytest.mark.numerical
@pytest.mark.long
def test_the_studys_network_scores_the_same_in_every_framework(study, converted, tmp_path):
    module = study[0]
    same_scores(module, converted[".weights.h5"], "keras")
    same_scores(module, converted[".h5"], "torch")
    conversion.to_onnx(converted[".safetensors"], tmp_path / "study.onnx", None, None, 2)
    found = numbers(in_onnx.start(tmp_path / "study.onnx", STUDY), PICTURES)
    np.testing.assert_allclose(found, drawn.scores(module, PICTURES)[:, 0], rtol=0, atol=TOLERANCE)
    assert sidecar.record(tmp_path / "study.onnx")["pooling"] == "8x8"


def same_scores(module, path, engine):
    found = numbers(decide(path, engine, "float32", 3, device="cpu").start(), PICTURES)
    np.testing.assert_allclose(found, drawn.scores(module, PICTURES)[:, 0], rtol=0, atol=TOLERANCE)


def test_the_record_of_the_studys_own_weights_comes_with_them():
    parts = {part.name: part.topology for part in ITEMS["koncept512"].parts}
    assert parts.pop("pytorch-b8") == STUDY_PORT
    assert set(parts.values()) == {None}
