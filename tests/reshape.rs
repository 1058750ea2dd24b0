//! `sandbox reshape` on runs of a tiny random policy: without a change it finds what was recorded, whatever the arm's settings
//! are, and with one it finds what the formula says.

use ::report::{Reshaped, reshape};
use records::{ArmState, RunDir};

use crate::runs::{Ran, SCENARIO, registry, run};

/// Reshapes the run with these overrides.
fn reshaped(ran: &Ran, set: &[&str]) -> Result<Vec<Reshaped>, String> {
    let run_dir = RunDir::new(ran.folder.path().join("run"));
    let set: Vec<String> = set.iter().map(ToString::to_string).collect();
    reshape(&run_dir, &set, &[]).map_err(|error| error.to_string())
}

async fn done(scenario: &str) -> Ran {
    let ran = run(scenario, registry(), None).await;
    assert_eq!(ran.only_arm(), &ArmState::Done, "{scenario}");
    ran
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_change_the_advantages_are_those_that_were_recorded() {
    let weighted = SCENARIO
        .replace("format + noise", "w_noise * noise + format")
        .replace("[eval]", "[shaping.weights]\nnoise = { schedule = [[1, 0.1], [6, 2.0]] }\n\n[eval]");
    for settings in [
        "",
        "[grpo]\nadvantages = \"gdpo\"",
        "[grpo]\nadvantages = \"reinforce_plus_plus\"",
        "[grpo]\nscale_rewards = \"batch\"\nmax_staleness = 1",
        "[selection]\nkeep_completions = 2",
        "[selection]\nextra_rounds = 2",
    ] {
        let scenario = weighted.replace("[rewards]", &format!("{settings}\n\n[rewards]"));
        let ran = done(&scenario).await;
        let found = &reshaped(&ran, &[]).unwrap()[0];
        assert_eq!(found.largest_difference, 0.0, "{settings}");
        assert_eq!((found.steps, found.gained, found.lost), (6, 0, 0), "{settings}");
        assert_eq!(found.changed_signs, Some(0.0));
        assert!(found.compared > 20 && found.compared <= found.completions, "{found:?}");
        assert!((found.rank_correlation.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(found.groups_with_variance[0], found.groups_with_variance[1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_formula_or_weights_is_followed() {
    let scenario = SCENARIO
        .replace("format + noise", "w_noise * noise")
        .replace("[eval]", "[shaping.weights]\nnoise = 0.5\n\n[eval]");
    let ran = done(&scenario).await;
    // A factor changes nothing but ε's share.
    let found = &reshaped(&ran, &["shaping.weights.noise=50"]).unwrap()[0];
    assert_eq!(found.changed_signs, Some(0.0));
    assert!(found.largest_difference > 0.0 && found.largest_difference < 0.01, "{found:?}");
    // Turned around, every advantage that is not 0 has the other sign.
    let found = &reshaped(&ran, &["shaping.weights.noise=-0.5"]).unwrap()[0];
    let varied = found.groups_with_variance[0].unwrap();
    assert!(found.changed_signs.unwrap() > 0.0 && found.changed_signs.unwrap() <= varied + 1e-9);
    assert!((found.rank_correlation.unwrap() + 1.0).abs() < 0.05, "{found:?}");
    for step in &found.by_step {
        let [before, after] = step.reward.map(Option::unwrap);
        assert!((before + after).abs() < 1e-9, "{step:?}");
    }
    // Nothing varies in `format`, so that nothing is left.
    let found = &reshaped(&ran, &["shaping.formula=format"]).unwrap()[0];
    assert_eq!((found.groups_with_variance[1], found.rank_correlation), (Some(0.0), None));
    let error = reshaped(&ran, &["shaping.formula=noise + thnk"]).unwrap_err();
    assert!(error.contains("thnk"), "{error}");
    let error = reshaped(&ran, &["grpo.kl_in_reward=true"]).unwrap_err();
    assert!(error.contains("grpo.kl_in_reward") && error.contains("--arm"), "{error}");
}
