use super::shards::{Index, write_shards};
use super::*;

fn write(dir: &Path, file: &str, tensors: &[(&str, Tensor)]) {
    let named = |(name, tensor): &(&str, Tensor)| ((*name).to_owned(), tensor.shallow_clone());
    write_tensors(&dir.join(file), &tensors.iter().map(named).collect::<Vec<_>>()).unwrap();
}

fn open(dir: &Path) -> Checkpoint {
    Checkpoint::open(dir, Architecture::Qwen3).unwrap()
}

fn opening_fails_with(dir: &Path) -> String {
    match Checkpoint::open(dir, Architecture::Qwen3) {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn tensors_are_read_as_written() {
    let dir = tempfile::tempdir().unwrap();
    let weight = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).reshape([2, 3]);
    write(dir.path(), SINGLE, &[("a", weight.shallow_clone()), ("b", weight.to_kind(Kind::BFloat16))]);
    let checkpoint = open(dir.path());
    assert_eq!(checkpoint.tensor("a", &[2, 3]).unwrap(), weight);
    assert_eq!(checkpoint.tensor("b", &[2, 3]).unwrap().kind(), Kind::BFloat16);
    assert_eq!(checkpoint.half_kind(), Some(Kind::BFloat16));
}

#[test]
fn all_tensors_of_a_file_are_read_sorted_by_name() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "moments",
        &[("b", Tensor::from_slice(&[1.5f32])), ("a", Tensor::from_slice(&[7i64, 8]))],
    );
    let read = read_tensors(&dir.path().join("moments")).unwrap();
    assert_eq!(read[0], ("a".to_owned(), Tensor::from_slice(&[7i64, 8])));
    assert_eq!(read[1], ("b".to_owned(), Tensor::from_slice(&[1.5f32])));
    let absent = dir.path().join("absent");
    assert!(read_tensors(&absent).unwrap_err().to_string().starts_with(&absent.display().to_string()));
}

#[test]
fn wrong_shapes_and_missing_tensors_name_file_tensor_and_shapes() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), SINGLE, &[("a", Tensor::from_slice(&[1.0f32, 2.0]))]);
    let checkpoint = open(dir.path());
    let path = dir.path().join(SINGLE);
    assert_eq!(
        checkpoint.tensor("a", &[3]).unwrap_err().to_string(),
        format!(
            "{}: tensor `a` has shape [2]; config.json asks for [3]: take both from the same model",
            path.display()
        )
    );
    assert_eq!(
        checkpoint.tensor("c", &[3]).unwrap_err().to_string(),
        format!("{}: tensor `c` is missing; config.json asks for it with shape [3]", path.display())
    );
}

#[test]
fn integer_tensors_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), SINGLE, &[("a", Tensor::from_slice(&[1i64, 2]))]);
    let message = open(dir.path()).tensor("a", &[2]).unwrap_err().to_string();
    assert!(message.ends_with("tensor `a` is stored as I64; expected F32, BF16 or F16"), "{message}");
}

#[test]
fn truncated_empty_and_absent_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    assert!(opening_fails_with(dir.path()).contains("found neither model.safetensors nor"));
    write(dir.path(), SINGLE, &[("a", Tensor::from_slice(&[1.0f32, 2.0]))]);
    let path = dir.path().join(SINGLE);
    let bytes = std::fs::read(&path).unwrap();
    for length in [bytes.len() - 1, 20, 4, 0] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let message = opening_fails_with(dir.path());
        assert!(
            message.starts_with(&format!("{}: not a whole safetensors file", path.display())),
            "{message}"
        );
    }
}

#[test]
fn shards_are_joined_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let index = r#"{"metadata": {}, "weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}"#;
    std::fs::write(dir.path().join(INDEX), index).unwrap();
    write(dir.path(), "one.safetensors", &[("a", Tensor::from_slice(&[1.0f32]))]);
    let message = opening_fails_with(dir.path());
    assert!(
        message.ends_with(
            "names the shard `two.safetensors`, which does not exist; fetch it from the model's hub page"
        ),
        "{message}"
    );
    write(dir.path(), "two.safetensors", &[("b", Tensor::from_slice(&[2.0f32]))]);
    let checkpoint = open(dir.path());
    assert_eq!(checkpoint.tensor("a", &[1]).unwrap().double_value(&[0]), 1.0);
    assert_eq!(checkpoint.tensor("b", &[1]).unwrap().double_value(&[0]), 2.0);
}

#[test]
fn tensors_are_converted_to_the_requested_dtype() {
    let dir = tempfile::tempdir().unwrap();
    let weight = Tensor::from_slice(&[1.0f32, -2.5, 3.0, 4.0]).reshape([2, 2]);
    write(dir.path(), SINGLE, &[("a", weight.to_kind(Kind::BFloat16))]);
    let loaded = open(dir.path()).load("a", &[2, 2], Device::Cpu, Some(Kind::Float)).unwrap();
    assert_eq!((loaded.kind(), loaded), (Kind::Float, weight), "these numbers are exact in 16 bits");
}

#[test]
fn git_lfs_pointers_and_pickled_weights_have_their_own_messages() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    assert!(opening_fails_with(dir.path()).ends_with("save the model again with save_pretrained)"));
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 16000000000\n";
    std::fs::write(dir.path().join(SINGLE), pointer).unwrap();
    assert!(opening_fails_with(dir.path()).ends_with("run `git lfs pull` in its repository"));
}

#[test]
fn tensors_that_a_model_does_not_read_are_written_unchanged() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tensors = [
        ("thinker.lm_head.weight", Tensor::from_slice(&[1.0f32])),
        ("thinker.visual.merger", Tensor::from_slice(&[1i64, 2])),
        ("talker.head", Tensor::from_slice(&[2.0f32]).to_kind(Kind::Half)),
    ];
    write(from.path(), SINGLE, &tensors);
    let checkpoint = Checkpoint::open(from.path(), Architecture::Qwen25Omni).unwrap();
    let unread = checkpoint.unread(|name| name == "lm_head.weight").collect();
    write_sharded(to.path(), unread).unwrap();
    let written = read_tensors(&to.path().join(SINGLE)).unwrap();
    let expected =
        [&tensors[2], &tensors[1]].map(|(name, tensor)| ((*name).to_owned(), tensor.shallow_clone()));
    assert_eq!(written, expected);
}

#[test]
fn large_checkpoints_are_split_and_read_whole() {
    let floats =
        |name: &str, count: i64| (name.to_owned(), Tensor::arange(count, (Kind::Float, Device::Cpu)));
    let dir = tempfile::tempdir().unwrap();
    // 8, 8, 20 and 4 bytes, at most 16 in a file: a and b; c alone, although it is larger; d.
    let tensors = [floats("a", 2), floats("b", 2), floats("c", 5), floats("d", 1)];
    let entries =
        tensors.iter().map(|(name, tensor)| Entry::tensor(name, tensor, dir.path()).unwrap()).collect();
    write_shards(dir.path(), entries, 16).unwrap();
    let index: Index = serde_json::from_slice(&std::fs::read(dir.path().join(INDEX)).unwrap()).unwrap();
    assert_eq!(index.metadata["total_size"], 40);
    let file = |name: &str| index.weight_map[name].as_str();
    assert_eq!([file("a"), file("b")], ["model-00001-of-00003.safetensors"; 2]);
    assert_eq!(
        [file("c"), file("d")],
        ["model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"]
    );
    let read = open(dir.path());
    for (name, tensor) in &tensors {
        assert_eq!(read.load(name, &tensor.size(), Device::Cpu, None).unwrap(), *tensor);
    }
}
