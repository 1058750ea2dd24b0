use super::*;

#[test]
fn absent_text_sizes_are_those_of_the_published_7b() {
    let json = r#"{"model_type": "qwen2_audio", "audio_token_index": 151646,
        "text_config": {"intermediate_size": 11008, "rms_norm_eps": 1e-5, "vocab_size": 156032}}"#;
    let config = ModelConfig::parse(json).unwrap();
    let audio = config.audio.unwrap();
    assert_eq!((config.text.hidden_size, config.text.num_hidden_layers), (4096, 32));
    assert_eq!((config.text.num_attention_heads, config.text.num_key_value_heads), (32, 32));
    assert_eq!((config.text.head_dim, config.text.rope_theta), (128, 10_000.0));
    assert_eq!((audio.d_model, audio.encoder_layers, audio.token_id), (1280, 32, 151_646));
    assert!(config.text.qkv_bias && !config.text.qk_norm && config.text.mrope_section.is_none());
}

#[test]
fn omni_is_read_from_the_whole_model_and_from_the_thinker_alone() {
    let thinker = r#"{"model_type": "qwen2_5_omni_thinker", "audio_token_index": 151646, "eos_token_id": 151645,
        "text_config": {"model_type": "qwen2_5_omni_text", "tie_word_embeddings": true,
            "rope_scaling": {"mrope_section": [16, 24, 24], "rope_type": "default", "type": "mrope"}}}"#;
    let whole = format!(r#"{{"model_type": "qwen2_5_omni", "thinker_config": {thinker}}}"#);
    let (alone, nested) = (ModelConfig::parse(thinker).unwrap(), ModelConfig::parse(&whole).unwrap());
    assert_eq!((alone.prefix(), nested.prefix()), ("", "thinker."));
    assert_eq!(ModelConfig { nested: false, ..nested }, alone);
    let text = &alone.text;
    assert_eq!((text.hidden_size, text.num_hidden_layers, text.vocab_size), (3584, 28, 152_064));
    assert_eq!((text.num_attention_heads, text.num_key_value_heads, text.head_dim), (28, 4, 128));
    assert_eq!((text.rope_theta, text.mrope_section), (1e6, Some([16, 24, 24])));
    assert_eq!(text.eos_token_ids, Some(vec![151_645]));
    assert!(!text.tie_word_embeddings, "the thinker's own key decides");
    assert_eq!(alone.other_placeholder_ids, [151_655, 151_656]);
    assert_eq!(alone.audio.unwrap().n_window, 100);
}

#[test]
fn qwen3_has_its_keys_at_the_top_level() {
    let json = r#"{"model_type": "qwen3", "hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 8,
        "rope_theta": 1000000, "tie_word_embeddings": true}"#;
    let config = ModelConfig::parse(json).unwrap();
    assert_eq!((config.text.hidden_size, config.text.head_dim, config.text.rope_theta), (1024, 128, 1e6));
    assert!(config.text.qk_norm && !config.text.qkv_bias && config.text.tie_word_embeddings);
    assert!(config.audio.is_none() && config.other_placeholder_ids.is_empty());
}

#[test]
fn llama_and_qwen2_may_stand_alone() {
    // SmolLM2-135M's own values.
    let smol = r#"{"model_type": "llama", "hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3,
        "vocab_size": 49152, "rope_theta": 100000, "tie_word_embeddings": true, "rms_norm_eps": 1e-05,
        "max_position_embeddings": 8192, "eos_token_id": 2, "rope_interleaved": false, "rope_scaling": null}"#;
    let config = ModelConfig::parse(smol).unwrap();
    assert_eq!(config.architecture, Architecture::Llama);
    assert!(config.audio.is_none() && !config.text.qkv_bias && config.text.tie_word_embeddings);
    assert_eq!((config.text.head_dim, config.text.max_position_embeddings), (64, 8192));
    assert_eq!(config.text.eos_token_ids, Some(vec![2]));
    let bare = ModelConfig::parse(r#"{"model_type": "llama"}"#).unwrap().text;
    assert_eq!((bare.max_position_embeddings, bare.vocab_size, bare.rope_theta), (2048, 32_000, 1e4));
    // Qwen2.5-0.5B's own values.
    let qwen2 = r#"{"model_type": "qwen2", "hidden_size": 896, "num_attention_heads": 14, "num_key_value_heads": 2,
        "rope_theta": 1000000.0, "tie_word_embeddings": true, "use_sliding_window": false}"#;
    let qwen2 = ModelConfig::parse(qwen2).unwrap();
    assert_eq!(qwen2.architecture, Architecture::Qwen2);
    assert!(qwen2.text.qkv_bias && !qwen2.text.qk_norm && qwen2.text.tie_word_embeddings);
    assert_eq!((qwen2.text.head_dim, qwen2.text.max_position_embeddings), (64, 32_768));
}

#[test]
fn rope_base_is_read_from_either_form() {
    let old = r#"{"model_type": "qwen2_audio", "audio_token_index": 1, "text_config": {"rope_theta": 5e5}}"#;
    let new = r#"{"model_type": "qwen2_audio", "audio_token_index": 1,
        "text_config": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}}"#;
    assert_eq!(ModelConfig::parse(old).unwrap().text.rope_theta, 5e5);
    assert_eq!(ModelConfig::parse(new).unwrap().text.rope_theta, 5e5);
}

#[test]
fn empty_list_of_end_tokens_differs_from_an_absent_one() {
    let eos = |text: &str| {
        let json =
            format!(r#"{{"model_type": "qwen2_audio", "audio_token_index": 1, "text_config": {text}}}"#);
        ModelConfig::parse(&json).unwrap().text.eos_token_ids
    };
    assert_eq!(eos("{}"), None);
    assert_eq!(eos(r#"{"eos_token_id": []}"#), Some(Vec::new()));
    assert_eq!(eos(r#"{"eos_token_id": 7}"#), Some(vec![7]));
}

#[test]
fn unsupported_models_are_refused_with_the_key() {
    let refused = |json: &str| ModelConfig::parse(json).unwrap_err().to_string();
    assert!(refused("{\n  \"model_type\": ").starts_with("is not JSON (EOF while parsing a value at line 2"));
    assert_eq!(refused("[]"), "is not a JSON object; take it from the model's hub page");
    assert_eq!(
        refused(r#"{"model_type": "gemma3"}"#),
        "model_type is `gemma3`; supported are `qwen2_audio`, `qwen2_5_omni` and `qwen2_5_omni_thinker`, and the \
         text-only `llama`, `qwen2` and `qwen3`"
    );
    let text = |text: &str| refused(&format!(r#"{{"model_type": "qwen2_audio", "text_config": {text}}}"#));
    assert!(text(r#"{"rope_scaling": {"type": "yarn"}}"#).contains("`yarn`"));
    assert_eq!(
        text(r#"{"num_key_value_heads": 5}"#),
        "text_config.num_key_value_heads 5 does not divide num_attention_heads 32"
    );
    assert_eq!(
        text(r#"{"hidden_size": "big"}"#),
        "text_config.hidden_size is `\"big\"`; expected an integer"
    );
    assert_eq!(text(r#"{"hidden_size": 0}"#), "text_config.hidden_size is 0; expected a positive number");
    assert_eq!(
        text(r#"{"use_sliding_window": true}"#),
        "text_config.use_sliding_window is true; only false is supported"
    );
    let sections = r#"{"model_type": "qwen2_5_omni_thinker",
        "text_config": {"rope_scaling": {"mrope_section": [16, 24]}}}"#;
    assert!(refused(sections).contains("mrope_section is [16, 24]; expected three numbers"));
    for widths in ["[2, 3, 9223372036854775807]", "[-9223372036854775808, 1, 1]", "[64, 64, -64]"] {
        let sections = format!(
            r#"{{"model_type": "qwen2_5_omni_thinker", "text_config": {{"rope_scaling": {{"mrope_section": {widths}}}}}}}"#
        );
        assert!(refused(&sections).contains("expected three numbers"), "{widths}");
    }
    let message = refused(r#"{"model_type": "qwen2\n_audio"}"#);
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn behind_qwen2_audio_s_tower_there_may_be_a_qwen3_or_a_llama() {
    let with = |text: &str| {
        let audio = r#""audio_config": {"activation_function": "gelu"}, "audio_token_index": 7"#;
        ModelConfig::parse(&format!(r#"{{"model_type": "qwen2_audio", {audio}, "text_config": {text}}}"#))
    };
    let text = |text: &str| with(text).unwrap().text;
    let (qwen2, qwen3) = (text("{}"), text(r#"{"model_type": "qwen3"}"#));
    assert!(qwen2.qkv_bias && !qwen2.qk_norm && !qwen3.qkv_bias && qwen3.qk_norm);
    assert_eq!((qwen2.head_dim, qwen3.head_dim), (128, 128));
    // SmolLM2-135M's own values; a Llama that leaves them out has as many key heads as query heads.
    let smol = r#"{"model_type": "llama", "hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3,
        "vocab_size": 49152, "rope_theta": 100000, "tie_word_embeddings": true, "rms_norm_eps": 1e-05}"#;
    let smol = text(smol);
    assert!(!smol.qkv_bias && !smol.qk_norm && smol.tie_word_embeddings);
    assert_eq!((smol.head_dim, smol.num_key_value_heads, smol.rope_theta), (64, 3, 1e5));
    assert_eq!(text(r#"{"model_type": "llama"}"#).num_key_value_heads, 32);
    let message = with(r#"{"model_type": "gemma3"}"#).unwrap_err().to_string();
    assert_eq!(message, "text_config.model_type is `gemma3`; expected `qwen2`, `qwen3`, `llama`");
    assert!(with(r#"{"model_type": "llama", "mlp_bias": true}"#).is_err());
}
