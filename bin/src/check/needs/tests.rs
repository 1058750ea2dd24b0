use std::path::Path;

use super::*;

/// A decoder of two layers of width 8 with 2 query heads and 1 head of keys and values of width 4, feed-forward width 16,
/// and 100 tokens; a tower of one layer of width 6.
fn config() -> (TextConfig, AudioConfig) {
    let text = TextConfig {
        vocab_size: 100,
        hidden_size: 8,
        intermediate_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        head_dim: 4,
        qkv_bias: true,
        qk_norm: false,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        mrope_section: None,
        max_position_embeddings: 1_024,
        tie_word_embeddings: false,
        eos_token_ids: None,
    };
    let audio = AudioConfig {
        token_id: 1,
        d_model: 6,
        encoder_layers: 1,
        encoder_attention_heads: 2,
        encoder_ffn_dim: 10,
        num_mel_bins: 4,
        max_source_positions: 5,
        n_window: 100,
    };
    (text, audio)
}

fn arm(text: &str) -> ArmConfig {
    let rewards = "[rewards]\naccuracy = { kind = \"accuracy\" }\n[shaping]\nformula = \"accuracy\"\n";
    let text = format!("{rewards}{text}\n[[arm]]\nname = \"a\"\n");
    let experiment = scenarios::scenario::parse(&text, Path::new("a.toml"), &[], &[], None).unwrap();
    experiment.arms.into_iter().next().unwrap()
}

fn estimated(arm: &ArmConfig, facts: &Facts) -> ArmNeeds {
    let (text, audio) = config();
    needs(arm, &text, Some(&audio), facts)
}

fn facts(gpu: bool) -> Facts {
    Facts {
        prompt_tokens: 10,
        completion_used: COMPLETION_USED,
        clips: 3,
        clip_bytes: 1_000,
        gpu,
        speed: None,
    }
}

#[test]
fn weights_are_counted_from_the_dimensions() {
    // A layer: 8 · (2 · 8 + 2 · 4 + 3 · 16) = 576. Output and embedding: 100 · 8. Projector: 6 · 8.
    // Tower: 3 · 6 · (4 + 6) + 5 · 6 + 4 · 36 + 2 · 60 = 474.
    let (text, audio) = config();
    let weights = Weights::of(&text, Some(&audio));
    assert_eq!(weights, Weights { decoder: 2 * 576 + 800, embedding: 800, projector: 48, tower: 474 });
    let tied = TextConfig { tie_word_embeddings: true, ..config().0 };
    assert_eq!(
        Weights::of(&tied, None),
        Weights { decoder: 2 * 576 + 800, embedding: 0, projector: 0, tower: 0 }
    );
}

#[test]
fn what_is_trained_has_copies_and_state_and_what_is_frozen_has_not() {
    let full = estimated(&arm(""), &facts(false));
    assert_eq!((full.trained, full.weights), (1_952 + 800, 1_952 + 800 + 48 + 474));
    assert_eq!(full.weights_bytes, 4 * full.weights);
    // Three copies and the gradients, in f32; two running means.
    assert_eq!((full.copies_bytes, full.optimizer_bytes), (4 * 4 * full.trained, 8 * full.trained));
    // On a GPU in bf16, with a master copy in f32.
    let gpu = estimated(&arm(""), &facts(true));
    assert_eq!(
        (gpu.dtype, gpu.weights_bytes, gpu.optimizer_bytes),
        ("bf16", 2 * gpu.weights, 12 * gpu.trained)
    );
    // Rank 2: 2 · (8 + 8) + 2 · (8 + 4) + 3 · (8 + 16) = 128 rows and columns in each of two layers.
    let lora = estimated(&arm("[policy]\ntrain = \"lora\"\nlora.rank = 2"), &facts(false));
    assert_eq!(lora.trained, 2 * 2 * 128);
    let parts = estimated(&arm("[policy]\ntrain = [\"projector\", \"tower\"]"), &facts(false));
    assert_eq!(parts.trained, 48 + 474);
    let asked = estimated(&ArmConfig { method: Method::None, ..arm("") }, &facts(false));
    assert_eq!((asked.trained, asked.optimizer_bytes, asked.activations_bytes), (0, 0, 0));
}

#[test]
fn keys_and_values_and_activations_grow_with_what_is_sampled_and_trained_on() {
    let text =
        "[sampling]\nprompts_per_step = 4\ngroup_size = 5\nmax_new_tokens = 30\n[eval]\nbatch_prompts = 1";
    let needed = estimated(&arm(text), &facts(false));
    // 20 completions of 10 + 30 tokens, each with a key and a value of 4 in two layers, in f32.
    assert_eq!(needed.kv_cache_bytes, 20 * 40 * 2 * 2 * 4 * 4);
    let halved = estimated(&arm(&text.replace("group_size", "batch_prompts = 2\ngroup_size")), &facts(false));
    assert_eq!(halved.kv_cache_bytes, needed.kv_cache_bytes / 2);
    // Completions count as 9 tokens: 4 · (10 + 5 · 9) = 220 tokens. A layer keeps 8 · 8 + 3 · 16 + 5 · 16 = 192 elements
    // of a token, and the logits 400.
    assert_eq!(needed.activations_bytes, 220 * (2 * 192 + 400) * 4);
    let micro = estimated(&arm(&format!("{text}\n[grpo]\nmicro_batch_prompts = 1")), &facts(false));
    assert_eq!(micro.activations_bytes, needed.activations_bytes / 4);
    // Recomputed: the inputs of two layers, one layer, and the logits.
    let text = format!("{text}\n[policy]\ngradient_checkpointing = true");
    let recomputed = estimated(&arm(&text), &facts(false));
    assert_eq!(recomputed.activations_bytes, 220 * (16 + 192 + 400) * 4);
}

#[test]
fn features_are_limited_and_times_need_a_measured_device() {
    let needed = estimated(&arm("[loader]\ncache_clips = 2"), &facts(false));
    assert_eq!((needed.features_bytes, needed.step_seconds), (2_000, None));
    let speed = Some(Speed { flops: 1e9, bytes: 1e9, operation: 1e-6 });
    let slow = Some(Speed { flops: 1e6, bytes: 1e6, operation: 1e-3 });
    let seconds = |speed| estimated(&arm(""), &Facts { speed, ..facts(false) }).step_seconds.unwrap();
    assert!((seconds(slow) / seconds(speed) - 1_000.0).abs() < 1e-6, "all parts scale with the speed");
}

/// A model of 7 B parameters: width, inner width, layers, heads and heads of keys and values, and tokens of its vocabulary.
fn large(
    hidden: i64,
    inner: i64,
    layers: i64,
    heads: [i64; 2],
    vocabulary: i64,
) -> (TextConfig, AudioConfig) {
    let (text, audio) = config();
    let text = TextConfig {
        vocab_size: vocabulary,
        hidden_size: hidden,
        intermediate_size: inner,
        num_hidden_layers: layers,
        num_attention_heads: heads[0],
        num_key_value_heads: heads[1],
        head_dim: 128,
        ..text
    };
    let audio = AudioConfig {
        d_model: 1_280,
        encoder_layers: 32,
        encoder_attention_heads: 20,
        encoder_ffn_dim: 5_120,
        num_mel_bins: 128,
        max_source_positions: 1_500,
        ..audio
    };
    (text, audio)
}

#[test]
fn what_is_computed_for_a_gpu_is_what_was_measured_on_one() {
    // On an H200 (docs/scale.md): steps of 2 prompts of 305 tokens × 8 completions, LoRA in bf16. Peaks of a step of 32 tokens, and
    // of a live run of 256.
    let audio_7b = large(4_096, 11_008, 32, [32, 32], 156_032);
    let omni_7b = large(3_584, 18_944, 28, [28, 4], 152_064);
    for ((text, audio), tokens, measured) in
        [(&audio_7b, 32, 22e9), (&audio_7b, 256, 25e9), (&omni_7b, 32, 19.5e9)]
    {
        let settings = format!(
            "[policy]\ntrain = \"lora\"\n[sampling]\nprompts_per_step = 2\ngroup_size = 8\nmax_new_tokens = {tokens}\n[eval]\nbatch_prompts = 2"
        );
        let facts = Facts { prompt_tokens: 305, clips: 2, clip_bytes: 4 * 128 * 3_000, ..facts(true) };
        let computed = needs(&arm(&settings), text, Some(audio), &facts).device_bytes
            + super::super::estimate::CUDA_CONTEXT;
        let off = computed as f64 / measured - 1.0;
        assert!(off.abs() < 0.15, "{computed} bytes: {:+.1} %", 100.0 * off);
    }
}

#[test]
fn the_table_of_the_docs_is_what_is_computed() {
    let docs = include_str!("../../../../docs/gpu.md");
    let models = [
        ("Qwen2-Audio 7B", large(4_096, 11_008, 32, [32, 32], 156_032)),
        ("Qwen2.5-Omni 7B", large(3_584, 18_944, 28, [28, 4], 152_064)),
    ];
    let steps = [
        ("LoRA, 2 × 8 × 256", "lora", [2, 256, 0], true),
        ("LoRA, 8 × 8 × 512", "lora", [8, 512, 0], true),
        ("LoRA, 8 × 8 × 512, micro-batches of 1", "lora", [8, 512, 1], true),
        ("LoRA, 8 × 8 × 512, micro-batches of 1, not recomputed", "lora", [8, 512, 1], false),
        ("all weights, 2 × 8 × 256", "full", [2, 256, 0], true),
    ];
    let facts = Facts { prompt_tokens: 305, clips: 2, clip_bytes: 4 * 128 * 3_000, ..facts(true) };
    for (name, (text, audio)) in &models {
        for (step, train, [prompts, tokens, micro], recompute) in steps {
            let settings = format!(
                "[policy]\ntrain = \"{train}\"\ngradient_checkpointing = {recompute}\n[grpo]\nmicro_batch_prompts = {micro}\n\
                 [sampling]\nprompts_per_step = {prompts}\ngroup_size = 8\nmax_new_tokens = {tokens}\n[eval]\nbatch_prompts = 2"
            );
            let needed = needs(&arm(&settings), text, Some(audio), &facts);
            let total = needed.device_bytes + super::super::estimate::CUDA_CONTEXT;
            let gib = |bytes: u64| format!("{:.1}", bytes as f64 / (1u64 << 30) as f64);
            let row = format!(
                "| {name} | {step} | {} | {} | {} | {} | {} |",
                gib(needed.weights_bytes + needed.copies_bytes),
                gib(needed.optimizer_bytes),
                gib(needed.activations_bytes),
                gib(needed.kv_cache_bytes),
                gib(total)
            );
            assert!(docs.contains(&row), "docs/gpu.md lacks the row {row}");
        }
    }
}
