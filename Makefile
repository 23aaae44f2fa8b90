# The commands of this project. `make` alone lists them.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo test simulation chaos overload fuzz lint bench bench-tls bench-instructions clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

demo: ## a six-node cluster, Keyway before it, and a short tour (installs redis-server when missing)
	@scripts/demo.sh

# The tests mostly wait: there is room for one more at a time than the machine has cores, and what comes after them is
# built meanwhile.
test: export RUST_TEST_THREADS ?= $(shell echo $$(($$(nproc) + 1)))
test: ## all tests, against real Redis and Valkey clusters (installs the servers when missing)
	@scripts/install-servers.sh --clients
	$(CARGO) test --locked --no-run
	@nice -n 19 $(CARGO) test --locked --quiet --profile simulation --test simulation --no-run 2>/dev/null & build=$$!; \
		echo $(CARGO) test --locked --no-fail-fast; $(CARGO) test --locked --no-fail-fast || { kill $$build 2>/dev/null; exit 1; }; wait $$build || true
	@$(MAKE) --no-print-directory simulation

SEEDS ?= 10000
FIRST ?= 0

# Optimized, or it would take ten times as long.
simulation: ## SEEDS histories of the simulated worker, from FIRST on (10000 from 0); every promise checked
	KEYWAY_SIMULATION_SEEDS=$(SEEDS) KEYWAY_SIMULATION_FIRST=$(FIRST) \
		$(CARGO) test --locked --profile simulation --test simulation

# Without the debug build's slowness, with its assertions.
chaos: ## ten minutes of faults for each server, every reply checked (KEYWAY_CHAOS_SECONDS, _SEED, _FLAVOR)
	@scripts/install-servers.sh
	KEYWAY_CHAOS_SECONDS=$${KEYWAY_CHAOS_SECONDS:-600} $(CARGO) test --locked --profile simulation --test chaos -- \
		--nocapture --test-threads 1

overload: ## too many clients, commands and unread replies for too little memory and files: figures
	@scripts/install-servers.sh
	KEYWAY_OVERLOAD=1 $(CARGO) test --locked --profile simulation --test overload -- --nocapture --test-threads 1

FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?=

fuzz: ## every fuzz target, or FUZZ_TARGETS, for FUZZ_SECONDS each (fuzz/README.md)
	@scripts/fuzz.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

lint: ## formatting and clippy, as CI checks them
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

# The driver itself needs no optimization; what it measures is the release.
bench: ## Keyway beside other proxies and none: speed, CPU, system calls, memory (benches/README.md)
	@scripts/install-servers.sh --only redis --bench
	$(CARGO) build --locked --release
	BENCH_PROGRAM="$${BENCH_PROGRAM:-$${CARGO_TARGET_DIR:-target}/release/keyway}" \
		$(CARGO) bench --locked --quiet --profile dev --bench loopback

bench-tls: ## what TLS costs on each side, beside haproxy (benches/README.md)
	@scripts/install-servers.sh --only redis --bench
	$(CARGO) build --locked --release
	BENCH_PROGRAM="$${BENCH_PROGRAM:-$${CARGO_TARGET_DIR:-target}/release/keyway}" \
		$(CARGO) bench --locked --quiet --profile dev --bench tls

bench-instructions: ## instructions of each function on a request's path, with limits (needs valgrind)
	$(CARGO) bench --locked --quiet --bench instructions

clean: ## remove what was built
	$(CARGO) clean
	rm -rf results
