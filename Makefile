# `make run` and `make test` do everything on a fresh Debian machine with Rust, a C++ compiler and Python 3.
# Plain cargo works too; .cargo/config.toml explains how libtorch is found.
SCENARIO ?= scenarios/ablation.toml
ARGS ?=

.PHONY: run test check docs base judge-server

run:
	cargo run --release --bin sandbox -- $(SCENARIO) $(ARGS)

test: judge-server
	@cargo nextest --version >/dev/null 2>&1 && exec cargo nextest run --workspace --no-fail-fast || \
		{ echo "cargo-nextest is missing; running the tests with cargo test"; cargo test --workspace --all-targets --no-fail-fast; }
	cargo test --workspace --doc

# llama.cpp's server, which the judge tests run against; downloaded once.
judge-server:
	tests/judge_server/install

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(MAKE) docs

docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Retrains the built-in policy, scenarios/tiny/model.safetensors.
base:
	cargo run --release --bin sandbox -- scenarios/pretrain.toml --out runs/base
	cp "$$(ls -td runs/base/pretrain-*/base/seed-7/checkpoints/step-* | head -1)/model.safetensors" scenarios/tiny/model.safetensors
