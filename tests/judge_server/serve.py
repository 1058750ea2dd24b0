"""Serves a Qwen3 from a Hugging Face directory by llama.cpp, with OpenAI's API, on a free port of 127.0.0.1.

    python serve.py MODEL_DIR GGUF_FILE

Writes the model in llama.cpp's format, weights in f32 as they are, prints `ready http://127.0.0.1:PORT/v1` and serves
until its standard input closes, so that it never outlives the process that started it.

The tokenizer is converted too: byte-level BPE with Qwen's splitting, added tokens, and `chat_template.jinja` (llama.cpp uses
ChatML if there is none). Texts get the same ids as from `tokenizer.json` if they are in Unicode's NFC form, to which llama.cpp
does not normalize. A judge's prompts are in NFC.
"""

import json
import os
import sys
from pathlib import Path

import gguf
import xllamacpp
from safetensors import safe_open

CONTEXT = 16_384
SLOTS = 4


def write(model: Path, out: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    assert config["model_type"] == "qwen3", f"{model}: a {config['model_type']}, not a qwen3"
    writer = gguf.GGUFWriter(out, "qwen3")
    writer.add_name(model.parent.name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config.get("rope_parameters", config)["rope_theta"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    add_tokenizer(writer, model, config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config["num_hidden_layers"])
    for file in sorted(model.glob("*.safetensors")):
        with safe_open(file, framework="np") as tensors:
            for name in tensors.keys():
                writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), tensors.get_tensor(name))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: gguf.GGUFWriter, model: Path, config: dict) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    # Rows of the embedding without a token.
    tokens = [f"[unused {row}]" for row in range(config["vocab_size"])]
    types = [gguf.TokenType.UNUSED] * config["vocab_size"]
    for token, row in tokenizer["model"]["vocab"].items():
        tokens[row], types[row] = token, gguf.TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        kind = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], kind
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    template = model / "chat_template.jinja"
    if template.exists():
        writer.add_chat_template(template.read_text())


def serve(file: Path) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.model_alias = {file.stem}
    params.n_ctx = CONTEXT * SLOTS
    params.n_parallel = SLOTS
    # Keys and values in f32 as well, so that log-probabilities equal the model's.
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.cpuparams.n_threads = 1
    params.fit_params = params.ui = False
    params.verbosity = 2
    return xllamacpp.Server(params)


if __name__ == "__main__":
    model, file = map(Path, sys.argv[1:])
    write(model, file)
    server = serve(file)
    print("ready", server.listening_address + "/v1", flush=True)
    sys.stdin.buffer.read()
    os._exit(0)
