import argparse

import pytest
import torch
from backbones_making import CBRAMOD_NAMES, cbramod_shapes, cbramod_weights, cortex_mae_checkpoint

from dynml.errors import CheckpointError, ConfigurationError
from dynml.exchange.published_backbones import convert_published_backbone, import_published_backbone
from dynml.models.registry import get_family
from dynml.training.checkpoints.experiment_folder import ExperimentFolder

SMALL = {"n_layers": 1, "n_hidden": 16}


def converted(content, family="cbramod", **settings):
    return convert_published_backbone(content, family, where="weights.pth", **settings)[0]


def imported(tmp_path, content, family="cbramod", **settings):
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    folder = ExperimentFolder(tmp_path, "imported")
    import_published_backbone(path, folder, family, **settings)
    return folder


def test_a_cbramod_becomes_an_experiment_with_what_its_weights_ask_for(tmp_path):
    folder = imported(tmp_path, cbramod_weights(3, 32), seen=["sub-1"])
    weights, parameters = folder.load_model()
    settings = parameters["model"]
    assert (parameters["family"], settings["n_layers"], settings["n_hidden"]) == ("cbramod", 3, 32)
    assert settings["channel_names"] == CBRAMOD_NAMES == parameters["dataset"]["channel_names"]
    assert parameters["dataset"]["subsets"]["training"]["subjects"] == ["sub-1"]
    assert parameters["imported"]["without_place"] == ["proj_out.0.weight", "proj_out.0.bias"]
    assert "licence of its weights was not verified" in parameters["imported"]["licence"]
    assert len(weights) == len(cbramod_shapes(3)) - 2
    with pytest.raises(CheckpointError, match="exists already"):
        imported(tmp_path, cbramod_weights(**SMALL))


def test_a_cortex_mae_becomes_an_experiment_and_its_decoder_is_left_out(tmp_path):
    checkpoint = cortex_mae_checkpoint(n_layers=2, settings={"clip_vmax": 2.5}) | {"epoch": 3}
    _, parameters = imported(tmp_path, checkpoint, "cortex_mae").load_model()
    settings = parameters["model"]
    assert (settings["n_parcels"], settings["n_heads"], settings["n_times"], settings["clip"]) == (12, 2, 4, 2.5)
    assert settings["channel_names"] is None
    assert parameters["imported"]["without_place"] == ["decoder.mask_token", "decoder.head.weight", "decoder.head.bias"]
    assert "CC BY-NC 4.0" in parameters["imported"]["licence"]


@pytest.mark.parametrize("family", ["cbramod", "cortex_mae"])
def test_each_tensor_is_needed_and_must_have_its_shape(family):
    small = cbramod_weights(**SMALL) if family == "cbramod" else cortex_mae_checkpoint(n_layers=1)["model"]
    wrap = (lambda one: one) if family == "cbramod" else (lambda one: {"args": {}, "model": one})
    for name, tensor in small.items():
        if name.startswith("decoder."):
            continue
        with pytest.raises(CheckpointError, match=f"weights.pth.* lacks {name}, which weights of {family} have"):
            converted(wrap({other: one for other, one in small.items() if other != name}), family)
        with pytest.raises(CheckpointError, match="has the shape"):
            converted(wrap(small | {name: tensor[None].expand(2, *tensor.shape)}), family)
    with pytest.raises(CheckpointError, match=f"holds encoder.new, which weights of {family} do not have"):
        converted(wrap(small | {"encoder.new": torch.ones(2)}), family)


def test_weights_of_another_model_are_told():
    labram = {f"student.{name}": torch.ones(1, 1, 200) for name in ("cls_token", "blocks.0.attn.qkv.weight")}
    with pytest.raises(CheckpointError, match="lacks encoder.layers.0.linear1.weight, .*; it holds student.cls_token"):
        converted(labram)
    with pytest.raises(CheckpointError, match="entries args and model, but holds student.cls_token"):
        converted(labram, "cortex_mae")
    with pytest.raises(CheckpointError, match="lacks encoder.patch_embed.weight"):
        converted({"args": {}, "model": labram}, "cortex_mae")
    gap = {name: one for name, one in cbramod_weights(3, 16).items() if "layers.1." not in name}
    with pytest.raises(CheckpointError, match="lacks encoder.layers.1.self_attn_s.in_proj_weight"):
        converted(gap)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"normalize": "global"}, "normalize is 'global', but must be 'frame'"),
        ({"no_coord_normalize": True}, "no_coord_normalize is True, but must be False"),
        ({"clip_vmax": None}, "clip_vmax is None, but must be a number above 0"),
    ],
)
def test_frames_that_were_normalized_otherwise_are_refused(setting, message):
    with pytest.raises(CheckpointError, match=message):
        converted(cortex_mae_checkpoint(n_layers=1, settings=setting), "cortex_mae")


def test_names_and_heads_must_fit():
    checkpoint = cortex_mae_checkpoint(n_layers=1)
    with pytest.raises(ConfigurationError, match="must be 12 names, one for each parcel"):
        converted(checkpoint, "cortex_mae", names=["a", "b"])
    with pytest.raises(ConfigurationError, match="must be different names"):
        converted(cbramod_weights(**SMALL), names=["a", "a"])
    assert converted(checkpoint, "cortex_mae", n_heads=4).settings["n_heads"] == 4
    with pytest.raises(ConfigurationError, match="must be a divisor of the 128 numbers"):
        converted(checkpoint, "cortex_mae", n_heads=7)
    with pytest.raises(ConfigurationError, match="must be an even number"):
        converted(cbramod_weights(**SMALL), n_heads=5)


def test_nothing_but_tensors_and_plain_values_is_read(tmp_path):
    checkpoint = cortex_mae_checkpoint(n_layers=1) | {"args": argparse.Namespace(normalize="frame")}
    with pytest.raises(CheckpointError, match="damaged or holds more than tensors"):
        imported(tmp_path, checkpoint, "cortex_mae")
    assert not (tmp_path / "imported").exists()


def test_an_imported_backbone_is_no_family_that_trains():
    with pytest.raises(ConfigurationError, match="cbramod is imported by dynml_import_weights.py"):
        get_family("cbramod")
