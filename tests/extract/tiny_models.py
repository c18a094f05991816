"""Transformers checkpoints with random weights, a few kilobytes each, written to a folder."""

import json

import torch
import transformers

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "vocab_size": 99,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
VIDEO_SIZES = {"num_frames": 4, **SIZES}
PREDICTOR = {
    "pred_hidden_size": 32,
    "pred_num_attention_heads": 4,
    "pred_num_hidden_layers": 1,
}

MODELS = {
    "clip": ("CLIPModel", {"text_config": TEXT, "vision_config": SIZES}),
    "siglip": ("SiglipModel", {"text_config": TEXT, "vision_config": SIZES}),
    "dinov2": ("Dinov2Model", SIZES),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", {"num_register_tokens": 3, **SIZES}),
    "vit": ("ViTModel", SIZES),
    "vit_classifier": ("ViTForImageClassification", SIZES),
    "resnet": ("ResNetModel", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}),
    "videomae": ("VideoMAEForVideoClassification", VIDEO_SIZES),
    "timesformer": ("TimesformerModel", VIDEO_SIZES),
    "vivit": ("VivitModel", {**VIDEO_SIZES, "tubelet_size": [2, 8, 8]}),
    "vjepa2": ("VJEPA2Model", {**SIZES, "frames_per_clip": 4, "crop_size": 32, **PREDICTOR}),
    "bert": ("BertModel", TEXT),
}

PREPROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 36},
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
}


def write_model(folder, name, **preprocessor):
    """Save a checkpoint of ``MODELS`` and its preprocessor_config.json; return (path, model)."""
    class_name, settings = MODELS[name]
    torch.manual_seed(7)
    model_class = getattr(transformers, class_name)
    model = model_class(model_class.config_class(**settings)).eval()
    path = folder / f"tiny-{name}"
    model.save_pretrained(path)
    file = path / "preprocessor_config.json"
    file.write_text(json.dumps(PREPROCESSOR | preprocessor), encoding="utf-8")
    return path, model
