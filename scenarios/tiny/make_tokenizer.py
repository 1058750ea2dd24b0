#!/usr/bin/env python3
"""Makes the tiny policy's tokenizer, and the configuration files that hold its ids.

    pip install tokenizers jinja2 && python3 scenarios/tiny/make_tokenizer.py

A byte-level BPE like Qwen's, trained on the soundscape world's own words (corpus.txt, which a test of the crate keeps
current), the prompts and the chat template, until each of their words is one token, with a space before it and
without. Anything else falls apart into smaller pieces, down to bytes. The same input gives the same files.
"""
import json
from pathlib import Path

import jinja2
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = Path(__file__).parent
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"]
# Ordinary tokens: a decoded completion must show them.
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
# Qwen's pattern, but a digit takes the space before it along, so that " 3" is one token as " beep" is.
WORD = Regex(r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")


def conversation(text):
    template = jinja2.Environment().from_string((HERE / "chat_template.jinja").read_text())
    content = [{"type": "audio", "audio_url": "clip.wav"}, {"type": "text", "text": text}]
    return template.render(messages=[{"role": "user", "content": content}], add_generation_prompt=True)


def texts():
    prompts = [path.read_text().strip() for path in sorted((HERE.parent / "prompts").glob("*.txt"))]
    corpus = (HERE / "corpus.txt").read_text().splitlines()
    return [conversation(prompt.format(question=line, choices="")) for prompt in prompts for line in corpus]


def split_tags(text):
    for tag in SPECIAL + TAGS:
        text = text.replace(tag, "\0")
    return text.split("\0")


def words(tokenizer):
    """Every word and digit, with a space before it and without; marks as they stand."""
    found = set()
    for text in texts():
        for piece in split_tags(text):
            for word, _ in pre_tokenizers.Split(WORD, "isolated").pre_tokenize_str(piece):
                bare = word.strip()
                found.update([bare, " " + bare] if bare.isalnum() else [word])
    return sorted(found)


def main():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(WORD, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=10_000, min_frequency=1, initial_alphabet=alphabet, show_progress=False)
    known = words(tokenizer)
    tokenizer.train_from_iterator(known, trainer)
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in TAGS])
    for word in known:
        assert len(tokenizer.encode(word).ids) == 1, word
    for text in texts():
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text, text
    (HERE / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n")

    identity = {text: tokenizer.token_to_id(text) for text in SPECIAL}
    size = -(-tokenizer.get_vocab_size() // 8) * 8
    end, pad = identity["<|im_end|>"], identity["<|endoftext|>"]
    write("tokenizer_config.json", {
        "add_prefix_space": False,
        "additional_special_tokens": SPECIAL,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "model_max_length": 1024,
        "pad_token": "<|endoftext|>",
        "padding_side": "left",
        "processor_class": "Qwen2AudioProcessor",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": None,
    })
    write("generation_config.json", {
        "do_sample": True,
        "eos_token_id": [end, pad],
        "pad_token_id": pad,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
    })
    write("config.json", {
        "architectures": ["Qwen2AudioForConditionalGeneration"],
        "audio_config": {
            "activation_dropout": 0.0,
            "activation_function": "gelu",
            "attention_dropout": 0.0,
            "d_model": 96,
            "dropout": 0.0,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 384,
            "encoder_layerdrop": 0.0,
            "encoder_layers": 2,
            "initializer_range": 0.02,
            "max_source_positions": 150,
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": 128,
            "scale_embedding": False,
        },
        "audio_token_index": identity["<|AUDIO|>"],
        "ignore_index": -100,
        "model_type": "qwen2_audio",
        "text_config": {
            "attention_dropout": 0.0,
            "bos_token_id": None,
            "eos_token_id": end,
            "hidden_act": "silu",
            "hidden_size": 96,
            "initializer_range": 0.02,
            "intermediate_size": 256,
            "max_position_embeddings": 1024,
            "model_type": "qwen2",
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "num_key_value_heads": 4,
            "pad_token_id": pad,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "use_cache": True,
            "use_sliding_window": False,
            "vocab_size": size,
        },
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "vocab_size": size,
    })
    print(f"{tokenizer.get_vocab_size()} tokens, {size} rows, {len(known)} words of one token each")


def write(name, content):
    (HERE / name).write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
