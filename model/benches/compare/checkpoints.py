"""The checkpoints that are compared: random ones in the hub's layout, tiny or of the published sizes, written shard by shard; or a
given one."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (AutoConfig, Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration, Qwen2AudioConfig,
                          Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor)

QWEN2_AUDIO = "qwen2-audio"
OMNI = "qwen2.5-omni"
ARCHITECTURES = [QWEN2_AUDIO, OMNI]

TOKENIZER = Path(__file__).resolve().parents[3] / "tests/fixtures/tokenizer"
SHARD_BYTES = 4 << 30
# Token ids of the fixtures' tokenizer.
AUDIO, PAD = 291, 288

TINY_TOWER = {"d_model": 128, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 512}
TINY_TEXT = {"vocab_size": 800, "hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 3,
             "num_attention_heads": 4}
TOWER = {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120}
QWEN2_AUDIO_TEXT = {"vocab_size": 156032, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
                    "num_attention_heads": 32, "num_key_value_heads": 32}
OMNI_TEXT = {"vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
             "num_attention_heads": 28, "num_key_value_heads": 4}


def qwen2_audio_config(tiny):
    text = TINY_TEXT | {"num_key_value_heads": 4} if tiny else QWEN2_AUDIO_TEXT
    text |= {"model_type": "qwen2", "rms_norm_eps": 1e-5, "max_position_embeddings": 8192}
    tower = (TINY_TOWER if tiny else TOWER) | {"model_type": "qwen2_audio_encoder"}
    return Qwen2AudioConfig(audio_config=tower, text_config=text, audio_token_index=AUDIO)


def omni_config(tiny):
    text = TINY_TEXT | {"num_key_value_heads": 2} if tiny else OMNI_TEXT
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6] if tiny else [16, 24, 24]}
    text |= {"rms_norm_eps": 1e-6, "max_position_embeddings": 32768, "rope_parameters": rope}
    tower = (TINY_TOWER if tiny else TOWER) | {"output_dim": text["hidden_size"], "n_window": 100}
    # The vision tower is not used, and is as small as transformers allows.
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 1, "out_hidden_size": 16,
              "fullatt_block_indexes": [0]}
    return Qwen2_5OmniThinkerConfig(audio_config=tower, text_config=text, vision_config=vision, audio_token_index=AUDIO,
                                    vision_start_token_id=294, pad_token_id=PAD)


def named(architecture, size, policy):
    return str(policy) if policy else f"{architecture} ({size})"


def empty_model(folder):
    """The model of a folder on the meta device: only the names and shapes of its tensors."""
    config = AutoConfig.from_pretrained(folder)
    return on_meta(config)


def on_meta(config):
    with torch.device("meta"):
        if config.model_type.startswith("qwen2_5_omni"):
            return Qwen2_5OmniThinkerForConditionalGeneration(config)
        return Qwen2AudioForConditionalGeneration(config)


def link(policy, folder):
    """Makes `folder` a copy of a checkpoint by links, whose completions all have the requested length, as no token ends them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in policy.resolve().iterdir():
        if file.name != "generation_config.json":
            (folder / file.name).symlink_to(file)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [], "pad_token_id": 0}))


def hub_name(name, architecture):
    """The hub's name of a tensor, from its name in the model in memory."""
    if architecture == OMNI:
        return name
    for ours, hub in (("model.language_model.", "language_model.model."), ("lm_head.", "language_model.lm_head."),
                      ("model.", "")):
        if name.startswith(ours):
            return hub + name.removeprefix(ours)
    raise ValueError(name)


def values(name, shape, dtype, device):
    """Ones for norms, and small random values for everything else."""
    if name.endswith("weight") and ("norm" in name or "ln_" in name):
        return torch.ones(shape, dtype=dtype)
    return (0.02 * torch.randn(shape, device=device)).to(dtype).cpu()


def write(folder, architecture, tiny, dtype, device):
    """Writes a checkpoint of random weights, with the files of its processor."""
    model = on_meta(omni_config(tiny) if architecture == OMNI else qwen2_audio_config(tiny))
    write_model(folder, model, lambda name: hub_name(name, architecture), dtype, device)
    chunk = 300 if architecture == OMNI else 30
    WhisperFeatureExtractor(feature_size=128, chunk_length=chunk).save_pretrained(folder)


def write_model(folder, model, hub_name, dtype, device):
    """Writes random weights in the shapes of a model, under the names that `hub_name` makes of its own, with a tokenizer."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    config = model.config.to_dict() | {"dtype": str(dtype).removeprefix("torch."), "architectures": [type(model).__name__]}
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    # No token ends a completion, so that all have the requested length.
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [], "pad_token_id": PAD}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, folder)

    weight_map, shard, size = {}, {}, 0

    def flush():
        file = f"model-{len(set(weight_map.values())) + 1:05}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(shard, file))
        shard.clear()

    for name, tensor in model.state_dict().items():
        shard[hub_name(name)] = values(name, tensor.shape, dtype, device)
        size += tensor.numel() * dtype.itemsize
        if size >= SHARD_BYTES:
            flush()
            size = 0
    if shard:
        flush()
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
