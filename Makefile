# Spooky: every target that people and machines use. `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help

# The Node that package-lock.json pins; any Node 20 or newer can install it.
PINNED = $(firstword $(wildcard node_modules/node-linux-$(ARCH)/bin/node))
ARCH := $(if $(filter x86_64 amd64,$(shell uname -m)),x64,arm64)
NODE = $(or $(PINNED),node)
TSC = $(NODE) node_modules/typescript/bin/tsc
JEST = $(NODE) --experimental-vm-modules --no-warnings node_modules/jest/bin/jest.js
# Whole processes run on this engine; without it on the one that `auto` takes.
ON_ENGINE = $(if $(ENGINE),SPOOKY_ENGINE=$(ENGINE))
SOURCES = $(shell find src -name '*.ts' 2>/dev/null)

.PHONY: help run build test lint native native-test native-fuzz native-sanitize engine generate check-generate golden fuzz image image-root bench-micro typecheck

help: ## List the targets
	@sed -n 's/^\([a-z0-9-][a-z0-9-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sort | awk -F '\t' '{ printf "  %-16s %s\n", $$1, $$2 }'

run: build engine ## Start a demo backend and Spooky in front of it; prints what to try
	@exec $(NODE) --no-warnings scripts/run.ts

build: dist/main.js ## Build what bin/spooky needs

test: build typecheck engine ## The fast tests (TESTS=path picks some, ENGINE=native|matrixai the engine of whole processes)
	$(ON_ENGINE) $(JEST) $(TESTS)

lint: node_modules/.package-lock.json ## Types, lint rules, format
	$(TSC) -p tsconfig.json
	$(NODE) node_modules/oxlint/bin/oxlint src test scripts
	$(NODE) node_modules/prettier/bin/prettier.cjs --check --log-level warn src test scripts

native: ## Build the native QUIC engine: needs cargo, a C++ compiler, cmake, libclang and patch, and says what is missing
	@scripts/native check
	@$(MAKE) -s --no-print-directory node_modules/.package-lock.json
	@scripts/native build

native-test: ## Format, lint and tests of the native engine's Rust
	@scripts/native test

native-fuzz: ## A minute of random input at the native engine's Rust (SPOOKY_FUZZ_SECONDS)
	@scripts/native fuzz

native-sanitize: ## The native engine's Rust tests under valgrind: about three minutes
	@native/sanitize

# The native engine where it can be had; one line says so where it cannot.
engine: node_modules/.package-lock.json
	@scripts/native want

generate: node_modules/.package-lock.json ## Write the files that schemas, flags and tables generate (crds/, docs/reference/)
	$(NODE) --no-warnings scripts/generate.ts

check-generate: node_modules/.package-lock.json ## Fail when a generated file is stale
	$(NODE) --no-warnings scripts/generate.ts --check

golden: node_modules/.package-lock.json ## Write the golden files anew; read the difference before you commit it
	SPOOKY_GOLDEN=update $(JEST) test/golden

fuzz: build engine ## Random input at the codecs and the sockets, a million of each (SPOOKY_FUZZ_COUNT)
	SPOOKY_SUITE=fuzz $(ON_ENGINE) SPOOKY_FUZZ_COUNT=$${SPOOKY_FUZZ_COUNT:-1000000} $(JEST) --runInBand test/fuzz

bench-micro: node_modules/.package-lock.json ## Time and allocation of the hot pieces, per operation
	@$(NODE) --no-warnings --expose-gc --min-semi-space-size=128 --max-semi-space-size=128 test/bench/run.ts $(BENCH)

typecheck: node_modules/.package-lock.json ## Types alone
	$(TSC) -p tsconfig.json

image-root: ## The root folder of the image (IMAGE_ROOT=build/image-root), out of what `make build native` made
	@scripts/image root $(or $(IMAGE_ROOT),build/image-root)

image: build engine ## An OCI archive without a container engine: build/spooky-image.tar (IMAGE=localhost/spooky:test)
	@$(MAKE) -s --no-print-directory image-root
	@scripts/image archive build/image-root $(or $(IMAGE),localhost/spooky:test) build/spooky-image.tar
	@echo "build/spooky-image.tar: $(or $(IMAGE),localhost/spooky:test)"

dist/main.js: $(SOURCES) tsconfig.json tsconfig.build.json node_modules/.package-lock.json
	$(TSC) -p tsconfig.build.json
	@touch $@

# npm writes this file itself.
node_modules/.package-lock.json: package-lock.json
	@scripts/preflight
	npm ci --no-audit --no-fund
	@touch $@

-include test/e2e/e2e.mk
-include test/cluster/cluster.mk
-include test/cluster/stories/stories.mk
-include test/bench/bench.mk
-include test/bench/overload/overload.mk
-include test/bench/config/config.mk
-include test/bench/soak/soak.mk
