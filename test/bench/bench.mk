# Benchmarks of the whole proxy. Included by the Makefile at the root; docs/develop/benchmarks.md says how they measure.
.PHONY: bench bench-tools

bench: build bench-tools ## The whole proxy beside nginx, HAProxy and Caddy (ROWS= ROUNDS= ENGINES= PEERS= SCALE= PROFILE=1)
	@$(NODE) --no-warnings test/bench/proxy/run.ts

bench-tools: ## Install what the benchmark needs: nginx, HAProxy, Caddy, and h2load with HTTP/3 (root, Debian)
	@test/e2e/tools/install sid h2load peers
