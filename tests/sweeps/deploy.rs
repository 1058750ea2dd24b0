//! The examples in deploy/: they are what `sandbox plan --array` prints.

use super::*;

/// What was measured of each task, by a plan that is kept in the sweep; here it is the same for all.
fn planned(tasks: usize, arms: &[&str]) -> Value {
    let task = |place: usize| {
        serde_json::json!({
            "number": place + 1,
            "arms": [arms[place % arms.len()]],
            "seed": 7,
            "needs": { "seconds": 120.0, "memory_bytes": 400_000_000_u64, "tokens": 50_000.0 },
        })
    };
    serde_json::json!({ "gpu": false, "tasks": (0..tasks).map(task).collect::<Vec<_>>() })
}

#[test]
fn the_examples_of_scripts_are_what_plan_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let study = Study::of(&fs::read_to_string(root.join("scenarios/ablation.toml")).unwrap());
    let arms = ["base", "sft", "sft+cot", "grpo", "grpo+cot", "grpo+atar", "grpo+atar+cr", "grpo+atar+cr+tr"];
    fs::rename(study.path("study.toml"), study.path("ablation.toml")).unwrap();
    fs::create_dir(study.path("sweep")).unwrap();
    fs::write(study.path("sweep/plan.json"), planned(arms.len(), &arms).to_string()).unwrap();
    let folder = study.folder.path().display().to_string();
    for (array, name) in
        [("slurm", "ablation.sbatch"), ("k8s", "ablation-jobset.yaml"), ("shell", "ablation.sh")]
    {
        let script = study.printed(&[
            "plan",
            "ablation.toml",
            "--set",
            "run.device=cpu",
            "--sweep",
            "sweep",
            "--array",
            array,
        ]);
        // The folder that all machines share is another one at each site.
        let script = script.replace(&folder, "/shared");
        assert!(!script.contains(" was measured"), "{script}");
        let path = root.join("deploy/examples").join(name);
        if std::env::var_os("UPDATE_EXAMPLES").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &script).unwrap();
        }
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == script,
            "run `UPDATE_EXAMPLES=1 cargo test -p sandbox --test sweeps the_examples_of_scripts` and commit {}",
            path.display()
        );
    }
}
