"""Random checkpoints: small ones whose decoders differ in what the kernels have to do, and those of the measurements."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "model/benches/compare"))

TOWER = {"d_model": 64, "encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 128,
         "model_type": "qwen2_audio_encoder"}
TEXT = {"vocab_size": 4999, "num_hidden_layers": 3, "rms_norm_eps": 1e-5, "max_position_embeddings": 4096}

# Decoders behind Qwen2-Audio's tower: with biases; with norms of queries and keys; without either. Query heads for a key head:
# 1, 7, 4 and 3.
DECODERS = {
    "qwen2 32/32 x 128": {"model_type": "qwen2", "hidden_size": 4096, "intermediate_size": 1024, "num_attention_heads": 32,
                          "num_key_value_heads": 32},
    "qwen2 28/4 x 128": {"model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 1024, "num_attention_heads": 28,
                         "num_key_value_heads": 4},
    "qwen3 32/8 x 128": {"model_type": "qwen3", "hidden_size": 1024, "intermediate_size": 1024, "num_attention_heads": 32,
                         "num_key_value_heads": 8, "head_dim": 128},
    "llama 9/3 x 64": {"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9,
                       "num_key_value_heads": 3},
}

JUDGE = {"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
         "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 32768,
         "tie_word_embeddings": False}
TINY_JUDGE = JUDGE | {"vocab_size": 800, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                      "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}


def dtype(world):
    import torch
    return torch.bfloat16 if world.on_gpu else torch.float32


def small(world, name):
    """The folder of a small model with this decoder; narrower with --tiny."""
    import checkpoints
    import torch
    from transformers import Qwen2AudioConfig, WhisperFeatureExtractor

    text = TEXT | DECODERS[name]
    if world.tiny:
        width = 16
        text |= {"hidden_size": width * text["num_attention_heads"], "intermediate_size": 128, "vocab_size": 800}
        if "head_dim" in text:
            text["head_dim"] = width
    folder = world.scratch / name.replace(" ", "-").replace("/", "-")
    config = Qwen2AudioConfig(audio_config=TOWER, text_config=text, audio_token_index=checkpoints.AUDIO)
    rename = lambda own: checkpoints.hub_name(own, checkpoints.QWEN2_AUDIO)
    checkpoints.write_model(folder, checkpoints.on_meta(config), rename, torch.float32, "cpu")
    WhisperFeatureExtractor(feature_size=128, chunk_length=30).save_pretrained(folder)
    return folder


def policy(world, architecture):
    """The folder of a model of full size, or of a tiny one with --tiny. It is written once."""
    import checkpoints

    if architecture not in world.models:
        drop(world)
        folder = world.scratch / architecture
        checkpoints.write(folder, architecture, world.tiny, dtype(world), world.device)
        world.models[architecture] = folder
        free_device(world)
    return world.models[architecture]


def judge(world):
    """The folder of a Qwen3 with 8 billion weights, or of a tiny one with --tiny."""
    import checkpoints
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    drop(world)
    with torch.device("meta"):
        model = Qwen3ForCausalLM(Qwen3Config(**(TINY_JUDGE if world.tiny else JUDGE)))
    folder = world.scratch / "judge"
    checkpoints.write_model(folder, model, lambda name: name, dtype(world), world.device)
    free_device(world)
    return folder


def free_device(world):
    """Returns what this process has cached of the device's memory, so that it is there for the program."""
    import torch
    if world.on_gpu:
        torch.cuda.empty_cache()


def drop(world):
    """Removes the models of full size, so that one of them at a time is on the disk."""
    import shutil

    for folder in world.models.values():
        shutil.rmtree(folder, ignore_errors=True)
    world.models.clear()
