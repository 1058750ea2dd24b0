"""Random checkpoints that vLLM's CPU kernels take: head size 32, windows of 30 s, the tokenizer of the built-in policy.

    checkpoints.py FOLDER    writes FOLDER/qwen2_audio, FOLDER/another (other weights) and FOLDER/omni
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/fixtures"))

import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration, WhisperFeatureExtractor

TINY = ROOT / "scenarios/tiny"
TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"]


def hub_name(name):
    """transformers 5 writes names that vLLM does not read."""
    name = name.replace("language_model.model.model.", "language_model.model.")
    if name.startswith(("language_model.model.", "language_model.lm_head")):
        return name
    if name.startswith("model.language_model."):
        return "language_model.model." + name.removeprefix("model.language_model.")
    if name.startswith("lm_head."):
        return "language_model." + name
    return name.removeprefix("model.")


def qwen2_audio(folder, seed):
    torch.manual_seed(seed)
    text = {"model_type": "qwen2", "vocab_size": 480, "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
            "eos_token_id": 469, "pad_token_id": 467, "rope_theta": 10000.0, "initializer_range": 0.08}
    audio = {"model_type": "qwen2_audio_encoder", "d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 4,
             "encoder_ffn_dim": 128}
    model = Qwen2AudioForConditionalGeneration(Qwen2AudioConfig(audio_config=audio, text_config=text, audio_token_index=470))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0, 0.08)
    model.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=128, chunk_length=30).save_pretrained(folder)
    for name in TOKENIZER:
        shutil.copy(TINY / name, folder)
    weights = folder / "model.safetensors"
    save_file({hub_name(name): tensor.contiguous() for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})


def omni(folder):
    import tiny_checkpoint

    tiny_checkpoint.TEXT.update(hidden_size=128, intermediate_size=256)
    tiny_checkpoint.TOWER.update(d_model=128)
    original = tiny_checkpoint.thinker_config

    def thinker_config():
        config = original()
        config["text_config"]["rope_parameters"]["mrope_section"] = [4, 6, 6]
        # vLLM takes the embedding for the head otherwise, although there is a tensor for it.
        config["text_config"]["tie_word_embeddings"] = False
        config["vision_config"]["out_hidden_size"] = config["audio_config"]["output_dim"] = 128
        return config

    tiny_checkpoint.thinker_config = thinker_config
    sys.argv = ["tiny_checkpoint.py", "qwen2_5_omni", str(folder)]
    tiny_checkpoint.main()
    # vLLM opens the processor of the whole model, which has images too.
    change(folder / "preprocessor_config.json", image_processor_type="Qwen2VLImageProcessor")
    change(folder / "tokenizer_config.json", extra_special_tokens={
        f"{name}_token": f"<|{text}|>"
        for name, text in [("image", "IMAGE"), ("audio", "AUDIO"), ("video", "VIDEO"), ("vision_bos", "vision_bos"),
                           ("vision_eos", "vision_eos"), ("audio_bos", "audio_bos"), ("audio_eos", "audio_eos")]})


def change(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}, indent=1))


def main():
    folder = Path(sys.argv[1])
    for name, make in [("qwen2_audio", lambda to: qwen2_audio(to, 1)), ("another", lambda to: qwen2_audio(to, 2)),
                       ("omni", omni)]:
        if not (folder / name / "model.safetensors").exists():
            (folder / name).mkdir(parents=True, exist_ok=True)
            make(folder / name)


main()
