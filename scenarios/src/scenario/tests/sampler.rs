//! The messages about `[sampler]`, and about what servers can't follow.

use super::*;

/// Two arms that servers can sample for.
const SERVED: &str =
    "[sampler]\nbackend = \"vllm\"\nurls = [\"http://127.0.0.1:8000\"]\n[policy]\ntrain = \"lora\"\n";

fn served() -> String {
    let grpo = "[grpo]\nimportance_correction = \"token_truncate\"";
    format!("{SERVED}{}", TWO_ARMS.replace("[grpo]", grpo))
}

#[test]
fn one_override_takes_the_servers_away_again() {
    let own = read_with(&served(), &["sampler.backend=own"], &[]).unwrap();
    assert!(own.arms.iter().all(|arm| !arm.sampler.has_servers()));
    let experiment = read(&served()).unwrap();
    assert!(experiment.arms.iter().all(|arm| arm.sampler.has_servers()));
    let again = parse(&experiment.to_toml(), Path::new("x.toml"), &[], &[], None).unwrap();
    assert_eq!(again.arms, experiment.arms);
    assert!(!read(TWO_ARMS).unwrap().to_toml().contains("[sampler]"), "left out where it is not used");
}

#[test]
fn addresses_that_can_t_be_used_are_refused() {
    for (urls, expected) in [
        ("[]", "write the servers' addresses"),
        ("[\"127.0.0.1:8000\"]", "write an address that begins with http://"),
        ("[\"http://127.0.0.1:8000/v1\"]", "write the address without /v1"),
        (
            "[\"http://me:hunter2@127.0.0.1:8000\"]",
            "write the address without it, and api_key_env = \"NAME\"",
        ),
        ("[\"http://127.0.0.1:1\", \"http://127.0.0.1:1\"]", "write each server once"),
    ] {
        let found = message(&served().replace("[\"http://127.0.0.1:8000\"]", urls));
        assert!(found.contains(expected) && !found.contains("hunter2"), "{urls}: {found}");
    }
}

#[test]
fn what_servers_can_t_follow_is_refused_with_what_to_write() {
    for (old, new, expected) in [
        ("train = \"lora\"", "train = \"full\"", "write policy.train = \"lora\""),
        ("train = \"lora\"", "train = [\"projector\", \"lora\"]", "write policy.train = \"lora\""),
        ("\"token_truncate\"", "\"none\"", "write \"token_truncate\" or another correction"),
        ("[policy]", "[sampling]\ntop_p = 0.9\n[policy]", "write 1 for sampler.backend"),
        ("[policy]", "[sampling]\ntop_k = 5\n[policy]", "write 0 for sampler.backend"),
        ("[policy]", "[sampling]\nmax_think_tokens = 5\n[policy]", "which can't force tokens"),
        ("[policy]", "[sampling]\nforced_no_think = 0.5\n[policy]", "which can't force tokens"),
        ("urls", "concurrency = 0\nurls", "write 1 to 100000"),
        ("urls", "canary_tolerance = 0.0\nurls", "write a number above 0"),
        ("urls", "at_new_version = \"continue\"\nurls", "write 1 or more, such as 128"),
        ("urls", "at_new_version = \"discard\"\nslice_tokens = 0\nurls", "write 1 or more, such as 128"),
        ("urls", "slice_tokens = 1000001\nurls", "write 0 to 1000000"),
        ("urls", "straggler_factor = 0.5\nurls", "write 0, or a number of at least 1"),
        ("urls", "backends = 1\nurls", "did you mean `backend`?"),
    ] {
        let found = message(&served().replacen(old, new, 1));
        assert!(found.contains(expected), "{new}: {found}");
    }
}
