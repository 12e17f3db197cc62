# Benchmarks of the whole proxy. Included by the Makefile at the root; docs/develop/benchmarks.md says how they measure.
.PHONY: bench bench-compare bench-publish bench-tools

bench: build engine bench-tools ## The whole proxy beside nginx, HAProxy and Caddy (ROWS= ROUNDS= ENGINES= PEERS= SCALE= PROFILE=1)
	@$(NODE) --no-warnings test/bench/proxy/run.ts

bench-compare: build engine bench-tools ## This checkout against another version of it: better, worse or noise (REF= ROWS= ROUNDS= SCALE= ENGINES=)
	@REF="$(REF)" $(NODE) --no-warnings test/bench/proxy/compare/run.ts

bench-publish: node_modules/.package-lock.json ## Make the last whole run of `make bench` the one that the README shows (RESULT=file picks another)
	@$(NODE) --no-warnings test/bench/proxy/publish/run.ts $(RESULT)
	@$(MAKE) -s --no-print-directory generate

bench-tools: ## Install what the benchmark needs: nginx, HAProxy, Caddy, and h2load with HTTP/3 (root, Debian)
	@test/e2e/tools/install sid h2load peers
