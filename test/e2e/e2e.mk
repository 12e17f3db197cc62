# End-to-end tests: clients and servers that others wrote. Included by the Makefile at the root.
# Everything that they need is installed on first use: into ~/.cache/spooky, and by apt where Debian has it.
E2E_NODE = $(firstword $(wildcard node_modules/node-linux-*/bin/node) node)
E2E_TESTS ?= test/e2e
# ENGINE=native or matrixai; without it the one that `auto` takes.
E2E_ENGINE = $(if $(ENGINE),SPOOKY_ENGINE=$(ENGINE))

.PHONY: e2e e2e-tools

e2e: build e2e-tools ## End-to-end tests with curl, aioquic, quic-go, Chromium, nginx, grpc-go (E2E_TESTS=path picks some, ENGINE=native|matrixai the engine)
	SPOOKY_SUITE=e2e $(E2E_ENGINE) $(E2E_NODE) --experimental-vm-modules --no-warnings node_modules/jest/bin/jest.js --runInBand --forceExit $(E2E_TESTS)

e2e-tools: ## Install what the end-to-end tests need (root, Debian)
	test/e2e/tools/install
