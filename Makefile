# The commands of the README. Everything is built in one profile (release) and one target directory, so that RocksDB, DataFusion and
# librdkafka are compiled once; `--workspace` in every cargo command keeps the features of shared dependencies the same for the same reason.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

export CARGO_TARGET_DIR ?= $(HOME)/.cache/millstream/target
export PATH := $(HOME)/.cargo/bin:$(PATH)
RELEASE := $(CARGO_TARGET_DIR)/release
export MILLSTREAM_BIN ?= $(RELEASE)/millstream
# For example: make demo DEMO='--seconds 120 --seed 7'
DEMO ?=
# For example: make bench BENCH='--records 1000000 --runs 3 --only w1,read'
BENCH ?=

.PHONY: help setup build demo bench test unit integration campaign lint

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing (Debian as root), or name it
	@deploy/setup.sh

build: setup ## the millstream binary and the demo
	@deploy/build.sh

demo: build ## click-count on a real Kafka while workers are killed; exit 0 only if every count is right
	@$(RELEASE)/demo $(DEMO)

bench: build ## CPU, memory and latency on a real Kafka, every result checked; hours at full size, see BENCH=--help
	@$(RELEASE)/bench $(BENCH)

test: setup ## what every change must pass; the last line is "N passed, N failed"
	@deploy/test.sh unit integration

unit: setup ## unit tests, and the contract of the Kafka clients on a local Kafka
	@deploy/test.sh unit

integration: setup ## tests with the real binary on a real Kafka
	@deploy/test.sh integration

campaign: setup ## every integration test, the long ones too
	@deploy/test.sh campaign

lint: setup ## formatting and clippy, warnings are errors
	@cargo fmt --all --check
	@cargo clippy --release --workspace --all-targets -- -D warnings
