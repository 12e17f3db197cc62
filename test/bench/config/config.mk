# How much configuration costs: start, changes, memory. Included by the Makefile at the root.
.PHONY: bench-config

bench-config: build engine ## Start, changes, pauses and memory with 10,000 Upstreams (UPSTREAMS= ENDPOINTS= HOSTS= CHANGES= LAYOUTS= CERTIFICATES=)
	@$(NODE) --no-warnings test/bench/config/run.ts
