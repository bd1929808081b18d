# One word for each chore; .ci/run says the same ones.

.PHONY: build setup lint test lab demo bench soak dist dist-test deny fuzz

build:
	cargo build --release

# What the tests need and cargo cannot bring: Debian packages, a stock kernel, schemathesis.
setup:
	lab/setup

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

test: setup lint
	tests/run

# Only the tests that boot a kernel, and only the one that boots in seconds: for between two edits.
lab: setup
	cargo test --workspace --tests -- fast::

# The walk-through of the README in a kernel of its own, with real traffic.
demo: setup
	cargo test --quiet --test demo

# Speed of the binary that users get, as ratios measured side by side; docs/benchmarks.md says what and how, and is written anew. Takes
# more than an hour, of which the optimised builds are a quarter.
bench: setup
	packaging/setup
	cargo bench --quiet --bench pure
	binary=$$(packaging/binary $$(uname -m)-unknown-linux-musl) && \
		SLB_BENCHED=$$binary SLB_LAB_DEADLINE=14400 \
		cargo test --release --quiet --no-fail-fast --benches --package slb --package slb-health

# Mixed load through the user-space data plane for so many seconds, while backends come, go and die. Needs no set-up.
SOAK_SECONDS ?= 600
soak:
	SLB_SOAK_SECONDS=$(SOAK_SECONDS) cargo test --test soak -- --nocapture

# dist/: static binaries and Debian packages for amd64, arm64 and armv7, what they are made of, checksums. Needs Debian.
dist:
	packaging/setup
	packaging/dist

# That these keep what was promised, on processors, kernels and a Debian host under emulation. No packet leaves.
dist-test: setup
	lab/dist
	cargo test --test dist --no-run
	unshare --map-root-user --net sh -ec 'ip link set lo up; exec cargo test --offline --test dist'

# Licences, sources, versions and known weaknesses of what slb depends on (deny.toml). Needs `cargo install --locked cargo-deny`.
deny:
	cargo deny --locked check

# Each fuzz target for so many seconds. Needs a nightly toolchain and `cargo install cargo-fuzz`.
FUZZ_SECONDS ?= 60
FUZZED := $(CURDIR)/target/fuzz
fuzz: $(patsubst %.rs,%.fuzz,$(wildcard */fuzz/fuzz_targets/*.rs))
%.fuzz:
	mkdir -p $(FUZZED)/$*
	cargo +nightly fuzz run --fuzz-dir $(*D)/.. --target-dir $(FUZZED) $(*F) $(FUZZED)/$* -- \
		-max_total_time=$(FUZZ_SECONDS) -artifact_prefix=$(FUZZED)/$*/
