# Each target does everything it needs, on a fresh machine too, and asks nothing.
# ARGS are handed on: make run ARGS="--listen 0.0.0.0:8080"

SHELL := /bin/sh
ARGS ?=
VALKEY := crates/banter/tests/clients/.venv
BINARY := $(abspath $(or $(CARGO_TARGET_DIR),target))/debug/banter

.PHONY: help run cluster observe test faults alarms bench bench-cluster scalability format

help:
	@echo 'make run      build Banter and start it on http://127.0.0.1:8080'
	@echo 'make cluster  build it and start a whole cluster: Redis, PostgreSQL, NGINX, every role'
	@echo 'make observe  the same, watched by Prometheus with alerts and exporters'
	@echo 'make test     check the formatting and the lints, and run all tests'
	@echo 'make faults   harm a cluster under load in every way it has to survive (some ten minutes)'
	@echo 'make alarms   break a watched cluster; every alert must fire, and clear'
	@echo 'make bench    measure speed and memory (some ten minutes)'
	@echo 'make bench-cluster   the same of a cluster on this machine (some ten minutes)'
	@echo 'make scalability   measure 1x, 10x and 100x the people, and write docs/scalability.md (some 25 minutes)'
	@echo 'make format   format the code'

run:
	@scripts/install.sh run
	@echo 'Building Banter: the first time 4 to 8 minutes on 2 cores, afterwards seconds.' >&2
	@exec cargo run --release --locked --quiet -p banter -- serve $(ARGS)

cluster:
	@scripts/install.sh cluster
	@echo 'Building Banter: the first time 4 to 8 minutes on 2 cores, afterwards seconds.' >&2
	@exec cargo run --release --locked --quiet -p banter -- cluster up $(ARGS)

observe:
	@scripts/install.sh observe
	@echo 'Building Banter: the first time 4 to 8 minutes on 2 cores, afterwards seconds.' >&2
	@exec cargo run --release --locked --quiet -p banter -- cluster up --observe $(ARGS)

test:
	@scripts/install.sh test
	@echo 'Testing: the first time some 20 minutes on 2 cores, afterwards 11.' >&2
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	npm --prefix web --silent test
	scripts/check-observability.sh
	BANTER_TEST_CLIENTS=1 BANTER_TEST_VALKEY="$$(find $(CURDIR)/$(VALKEY) -name valkey-server)" \
		RUST_TEST_THREADS=3 cargo test --workspace --locked
	BANTER_BIN="$(BINARY)" npm --prefix web --silent run test:browser

faults:
	@scripts/install.sh cluster
	@echo 'Harming a cluster: some ten minutes.' >&2
	@cargo build --locked --quiet -p banter
	@exec cargo run --locked --quiet -p banter-lab --bin faults -- $(ARGS)

alarms:
	@scripts/install.sh test
	@echo 'Breaking a cluster in every way that has an alert: some three minutes.' >&2
	cargo test --locked -p banter --test it -- --ignored --nocapture \
		cluster::observed::what_breaks_raises_its_alert

bench:
	@scripts/install.sh bench
	@echo 'Measuring: some ten minutes. Leave the machine alone meanwhile.' >&2
	@cargo build --release --locked --quiet -p banter
	@exec cargo run --release --locked --quiet -p banter-lab --bin bench -- $(ARGS)

bench-cluster:
	@scripts/install.sh bench-cluster
	@echo 'Measuring: some ten minutes. Leave the machine alone meanwhile.' >&2
	@cargo build --release --locked --quiet -p banter
	@exec cargo run --release --locked --quiet -p banter-lab --bin bench -- --cluster $(ARGS)

scalability:
	@scripts/install.sh bench-cluster
	@echo 'Measuring: some 25 minutes. Leave the machine alone meanwhile.' >&2
	@cargo build --release --locked --quiet -p banter
	@exec cargo run --release --locked --quiet -p banter-lab --bin scalability -- $(ARGS)

format:
	cargo fmt --all
