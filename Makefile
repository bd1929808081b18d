# One word for each chore; .ci/run says the same ones.

.PHONY: build setup lint test demo

build:
	cargo build --release

# What the tests need and cargo cannot bring: Debian packages and a stock kernel.
setup:
	lab/setup

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

test: setup lint
	cargo test --workspace

# The walk-through of the README in a kernel of its own, with real traffic.
demo: setup
	cargo test --quiet --test demo
