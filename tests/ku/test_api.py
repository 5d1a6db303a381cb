"""The known API: each name where the scripts that were written for it look for it, wherever it is defined."""

import inspect

import pytest

import ku

pytestmark = pytest.mark.any_backend

NETS = "InceptionResNetV2 InceptionV3 DenseNet201 ResNet50 VGG16 NASNetMobile"
API = {
    "generic": "H5Helper minmax mapmm plcc srocc srcc dist2mos force_tuple force_list make_dirs updated_dict chunks "
    "pretty_print pretty check_keys_exist raw_confirm update_config Timer array_overlap show_progress partition_rows "
    "download_archive get_sizes print_sizes ShortNameBuilder",
    "tensor_ops": "SetActiveGPU GPUMemoryCap plcc_tf plcc plcc_loss earth_mover_loss make_loss get_plcc_dist_tf "
    "get_plcc_dist_loss",
    "image_augmenter": "ImageAugmenter get_patch_dims extract_patch get_random_patch_dims extract_random_patch "
    "cropout_patch cropout_random_patch largest_rotated_rect image_to_tiles tiles_to_image imshuffle imshuffle_pair",
    "image_utils": "ImageAugmenter read_image write_image read_image_batch resize_image glob_images resize_folder "
    "check_images save_images_to_h5 augment_folder imv view_stack",
    "generators": "DataGeneratorDisk DataGeneratorHDF5 GeneratorStack H5Helper",
    "applications": f"{NETS} Model fc_layers get_model_imagenet process_input source_module conv2d_bn inception_block "
    "model_inception_multigap model_inceptionresnet_multigap model_inception_pooled model_inceptionresnet_pooled "
    "rating_metrics test_rating_model get_train_test_sets",
    "model_helper": "ModelHelper TensorBoardWrapper get_layer_index get_activations",
}
ALIASES = {"mh": "model_helper", "apps": "applications", "ops": "tensor_ops", "gen": "generic"}
ALIASES |= {"iu": "image_utils", "aug": "image_augmenter", "gr": "generators"}
HELPER = (
    "train predict validate load_model save_model save_activations save_features make_generator test_generator "
    "set_trainable set_multi_gpu compile clean_outputs update_name set_model_name set_callbacks"
)


@pytest.mark.parametrize("module", API)
def test_its_names_are_there(module):
    there = vars(getattr(ku, module))
    assert [name for name in API[module].split() if name not in there] == []
    listed = there.get("__all__", API[module].split())
    assert set(API[module].split()) <= set(listed)


@pytest.mark.parametrize("alias", ALIASES)
def test_its_aliases_are_the_modules(alias):
    assert getattr(ku, alias) is getattr(ku, ALIASES[alias])


def test_the_helper_has_its_methods():
    assert [name for name in HELPER.split() if not inspect.isfunction(getattr(ku.mh.ModelHelper, name, None))] == []


def test_another_name_is_an_error():
    with pytest.raises(AttributeError, match="module 'ku' has no attribute 'hdf6'"):
        _ = ku.hdf6
