"""Bodies and heads of networks."""

import socket

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from ku import applications as apps

any_backend = pytest.mark.any_backend


@pytest.fixture(scope="module")
def inception():
    return apps.get_model_imagenet("InceptionV3", (75, 75, 3), weights=None)[0]


@pytest.fixture(scope="module")
def vgg():
    return apps.get_model_imagenet(apps.VGG16, (32, 48, 3), weights=None)[0]


def head(x=None, **args) -> keras.Model:
    """A head of 3 -> 4, 2, 1 without dropout, or what `args` say."""
    x = keras.Input((3,)) if x is None else x
    args = {"name": "fc", "fc_sizes": [4, 2, 1], "dropout_rates": [0, 0, 0], **args}
    return keras.Model(x, apps.fc_layers(x, **args))


@any_backend
def test_every_architecture_has_its_preprocessing():
    names = {net.__name__ for net in apps.process_input}
    assert names == {"InceptionResNetV2", "InceptionV3", "DenseNet201", "ResNet50", "VGG16", "NASNetMobile"}
    assert set(apps.source_module) == set(apps.process_input) == set(apps.WEIGHTS_FILES)
    white = np.full((1, 2, 2, 3), 255.0)
    assert apps.process_input[apps.InceptionResNetV2](white.copy()).max() == 1
    assert apps.source_module[apps.VGG16].preprocess_input is apps.process_input[apps.VGG16]
    assert apps.Model is keras.Model


@any_backend
def test_body_ends_in_its_global_average(vgg, tmp_path):
    assert vgg.layers[-1].name == "final_gap"
    assert (vgg.input_shape, vgg.output_shape) == ((None, 32, 48, 3), (None, 512))
    vgg.save_weights(tmp_path / "body.weights.h5")
    again, preprocess = apps.get_model_imagenet("VGG16", weights=tmp_path / "body.weights.h5")
    assert again.input_shape == (None, None, None, 3)
    assert preprocess is apps.process_input[apps.VGG16]
    x = np.random.default_rng(0).random((1, 32, 48, 3), np.float32)
    np.testing.assert_allclose(again.predict_on_batch(x), vgg.predict_on_batch(x), rtol=1e-5)


@any_backend
def test_body_is_built_on_the_tensor_given():
    pictures = keras.Input((32, 32, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 127.5, -1)(pictures)
    model, _ = apps.get_model_imagenet("VGG16", weights=None, input_tensor=scaled)
    assert [layer.name for layer in model.layers[1:3]] == [
        scaled._keras_history.operation.name,
        "block1_conv1",
    ]
    assert model.input is pictures
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)


@any_backend
def test_failed_fetch_says_what_to_do(monkeypatch):
    timeouts = []

    def get_file(name, *args, **kw):
        timeouts.append(socket.getdefaulttimeout())
        raise Exception(f"URL fetch failure on https://host/{name}: None -- unreachable")

    monkeypatch.setattr(file_utils, "get_file", get_file)
    before = socket.getdefaulttimeout()
    message = rf"VGG16 .*models.{apps.WEIGHTS_FILES[apps.VGG16]} .*weights=None.*https://host/\S+notop.h5.*unreachable"
    with pytest.raises(ConnectionError, match=message):
        apps.get_model_imagenet("VGG16", (32, 32, 3))
    assert timeouts == [apps.FETCH_TIMEOUT]
    assert socket.getdefaulttimeout() == before


@any_backend
def test_bad_bodies():
    with pytest.raises(ValueError, match=r"among .*VGG16.* Received: net='VGG'"):
        apps.get_model_imagenet("VGG")
    with pytest.raises(FileNotFoundError, match=r"Received: weights=nowhere.h5"):
        apps.get_model_imagenet("VGG16", weights="nowhere.h5")
    with pytest.raises(ValueError, match="Input size must be at least"):  # Keras's own, not a failed fetch
        apps.get_model_imagenet("VGG16", (16, 16, 3), weights=None)


@any_backend
@pytest.mark.parametrize(
    ("args", "names"),
    [
        ({}, ["fc_fc0", "fc_fc1", "fc_out"]),
        ({"batch_norm": 1}, ["fc_fc0", "fc_bn0", "fc_fc1", "fc_bn1", "fc_out", "fc_bn2"]),
        (
            {"batch_norm": 2, "dropout_rates": [0.5, 0, 0]},
            ["fc_fc0", "fc_bn0", "fc_do0", "fc_fc1", "fc_bn1", "fc_out"],
        ),
        (
            {"name": "a", "l2_norm_inputs": True, "fc_sizes": [5], "dropout_rates": [0.1]},
            ["a_l2", "a_out", "a_do0"],
        ),
    ],
)
def test_layers_of_a_head(args, names):
    assert [layer.name for layer in head(**args).layers[1:]] == names


@any_backend
def test_head_rectifies_then_normalises():
    model = head(batch_norm=2)
    dense, norm, out = (model.get_layer(name) for name in ("fc_fc0", "fc_bn0", "fc_out"))
    assert norm.input is dense.output
    assert [layer.activation.__name__ for layer in (dense, out)] == ["relu", "linear"]
    assert type(dense.kernel_initializer).__name__ == "HeNormal"


@any_backend
def test_head_options():
    x = np.random.default_rng(0).random((4, 3), np.float32)
    normed = head(l2_norm_inputs=True)
    np.testing.assert_allclose(normed.predict_on_batch(x), normed.predict_on_batch(5 * x), rtol=1e-3, atol=1e-5)
    assert not any(layer.use_bias for layer in head(use_bias=False).layers[1:])
    for always in (False, True):
        drops = head(dropout_rates=[0.9, 0.9, 0], fc_sizes=[64, 64, 1], test_time_dropout=always)
        alike = np.array_equal(drops.predict_on_batch(x), drops.predict_on_batch(x))
        assert alike is not always
    half = head(keras.Input((3,), dtype="float16"), dtype="float16")
    assert half.get_layer("fc_fc0").compute_dtype == "float16"


@any_backend
def test_head_answers_in_float32_under_mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = head(batch_norm=1, dropout_rates=[0, 0, 0.1])
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.get_layer("fc_fc0").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"


@any_backend
def test_bad_heads():
    with pytest.raises(ValueError, match=r"one for each of fc_sizes=\[4, 2, 1\]. Received: dropout_rates=\[0\]"):
        head(dropout_rates=[0])
    with pytest.raises(ValueError, match=r"batch_norm should be 0, 1 or 2. Received: batch_norm=3"):
        head(batch_norm=3)


@any_backend
def test_convolutions():
    x = keras.Input((7, 9, 3))
    assert apps.conv2d_bn(x, 5, 1, 3, padding="valid", strides=2).shape == (None, 4, 4, 5)
    block = keras.Model(x, apps.inception_block(x, 16, name="top"))
    assert block.output_shape == (None, 7, 9, 16)
    assert block.layers[-1].name == "top_mixed"
    assert block.predict_on_batch(np.ones((1, 7, 9, 3))).min() >= 0
    assert apps.inception_block(apps.inception_block(x)).shape == (None, 7, 9, 768)
    with pytest.raises(ValueError, match="Received: size=18"):
        apps.inception_block(x, 18)


@any_backend
@pytest.mark.numerical
def test_multilevel_features(inception, monkeypatch):
    monkeypatch.setattr(apps, "get_model_imagenet", lambda *args, **kw: (inception, None))
    model, sizes = apps.model_inception_multigap(return_sizes=True)
    assert sizes == [256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048]
    assert model.output_shape == (None, 10048)
    some = apps.model_inception_multigap(indexes=[0, 10], name="few")
    wide, wide_sizes = apps.model_inception_pooled(indexes=[0, 10], pool_size=(2, 3), name="wide", return_sizes=True)
    assert some.name == "few"
    assert wide_sizes == [256, 2048]
    assert wide.output_shape == (None, 2, 3, 2304)
    x = np.random.default_rng(0).random((1, 75, 75, 3), np.float32)
    outputs = [model.output, some.output, wide.output]
    all_levels, few, grid = keras.Model(inception.input, outputs).predict_on_batch(x)
    np.testing.assert_allclose(few[:, 256:], all_levels[:, -2048:], rtol=1e-3, atol=1e-5)
    # The last block is 1 x 1, so that any size of it shows the average.
    np.testing.assert_allclose(grid[:, 1, 2, 256:], few[:, 256:], rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match=r"the 11 blocks, 0 first. Received: indexes=\[11\]"):
        apps.model_inception_multigap(indexes=[11])


@pytest.mark.slow
def test_koncept512_and_its_43_blocks(monkeypatch):
    body, _ = apps.get_model_imagenet(apps.InceptionResNetV2, (75, 75, 3), weights=None)
    out = apps.fc_layers(body.output, "fc", [2048, 1024, 256, 1], [0.25, 0.25, 0.5, 0], batch_norm=2)
    assert keras.Model(body.input, out).count_params() == 59_858_657
    monkeypatch.setattr(apps, "get_model_imagenet", lambda *args, **kw: (body, None))
    model, sizes = apps.model_inceptionresnet_multigap(return_sizes=True)
    assert sizes == [320, *[128] * 10, 1088, *[384] * 20, 2080, *[448] * 10]
    assert model.output_shape == (None, 16928)
    assert apps.model_inceptionresnet_pooled(indexes=[42]).output_shape == (None, 5, 5, 448)
