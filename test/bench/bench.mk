# Benchmarks of the whole proxy. Included by the Makefile at the root; docs/develop/benchmarks.md says how they measure.
.PHONY: bench bench-tools

bench: build bench-tools ## The whole proxy: engines side by side, and nginx (ROWS= ROUNDS= ENGINES= SCALE= PROFILE=1)
	@$(NODE) --no-warnings test/bench/proxy/run.ts

bench-tools: ## Install what the benchmark needs: nginx, and h2load with HTTP/3 (root, Debian)
	@test/e2e/tools/install sid h2load
