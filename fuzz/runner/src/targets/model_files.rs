//! Files of a model or an adapter that somebody else made: safetensors, `adapter_config.json`, `config.json`.

use model::checkpoint::read_tensors;
use model::config::ModelConfig;
use model::lora::check_adapter;

use super::Target;
use crate::scratch;

pub const SAFETENSORS: Target = Target {
    name: "safetensors",
    dictionary: &[
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\"dtype\":",
        "\"F32\"",
        "\"BF16\"",
        "\"F64\"",
        "\"I64\"",
        "\"F4\"",
        "\"BOOL\"",
        "\"shape\":",
        "\"data_offsets\":",
        "\"__metadata__\":",
        "[0,0]",
        "[0,4]",
        "[1]",
        "[-1]",
        "[4611686018427387904,4]",
        "18446744073709551615",
        "9223372036854775808",
        "\0\0\0\0\0\0\0\0",
    ],
    longest: 8 * 1024,
    run: safetensors,
};

pub const ADAPTER: Target = Target {
    name: "adapter",
    dictionary: &[
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\"peft_type\":",
        "\"LORA\"",
        "\"r\":",
        "\"lora_alpha\":",
        "\"lora_dropout\":",
        "\"target_modules\":",
        "\"all-linear\"",
        "\"(a*)*b\"",
        "\"((((((((\"",
        "\"a{1,1000}{1,1000}\"",
        "\"use_dora\":",
        "\"bias\":",
        "\"init_lora_weights\":",
        "\"rank_pattern\":",
        "null",
        "true",
        "1e400",
        "-1",
        "9223372036854775808",
    ],
    longest: 8 * 1024,
    run: adapter,
};

pub const MODEL_CONFIG: Target = Target {
    name: "model-config",
    dictionary: &[
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ",",
        "\"model_type\":",
        "\"qwen2_audio\"",
        "\"qwen2_5_omni\"",
        "\"qwen3\"",
        "\"hidden_size\":",
        "\"num_attention_heads\":",
        "\"num_key_value_heads\":",
        "\"head_dim\":",
        "\"rope_theta\":",
        "\"rope_scaling\":",
        "\"mrope_section\":",
        "\"vocab_size\":",
        "\"audio_config\":",
        "\"text_config\":",
        "\"thinker_config\":",
        "\"sliding_window\":",
        "\"layer_types\":",
        "null",
        "0",
        "-1",
        "1e400",
        "1e18",
        "9223372036854775807",
    ],
    longest: 8 * 1024,
    run: model_config,
};

fn safetensors(input: &[u8]) {
    let path = scratch::file("model.safetensors", input);
    match read_tensors(&path) {
        Ok(tensors) => {
            let bytes: usize =
                tensors.iter().map(|(_, tensor)| tensor.numel() * tensor.kind().elt_size_in_bytes()).sum();
            assert!(bytes <= input.len(), "{bytes} bytes of tensors from a file of {}", input.len());
        }
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
}

/// The input is the configuration, a line of `---`, and the weights.
fn adapter(input: &[u8]) {
    let cut = input.windows(5).position(|window| window == b"\n---\n");
    let (config, weights) = cut.map_or((input, &[][..]), |cut| (&input[..cut], &input[cut + 5..]));
    scratch::file("adapter_config.json", config);
    scratch::file("adapter_model.safetensors", weights);
    match check_adapter(scratch::folder()) {
        Ok(config) => assert!(config.rank > 0),
        Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
    }
}

fn model_config(input: &[u8]) {
    scratch::file("config.json", input);
    if let Err(error) = ModelConfig::open(scratch::folder()) {
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}
