# The commands of this project. `make` alone lists them.

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo test lint clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: ## a six-node cluster, Keyway before it, and a short tour (installs redis-server when missing)
	@scripts/demo.sh

test: ## all tests, against real Redis and Valkey clusters (installs the servers when missing)
	@scripts/install-servers.sh --clients
	$(CARGO) test --locked

lint: ## formatting and clippy, as CI checks them
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

clean: ## remove what was built
	$(CARGO) clean
	rm -rf results
