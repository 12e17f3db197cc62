# What happens beyond capacity. Included by the Makefile at the root; docs/operate/tuning.md says what is expected.
.PHONY: overload

overload: build engine ## Thrice its capacity, on a fifth of a core and 512 MiB (ENGINES= KINDS= DURATION=120 seconds each; root)
	@test/e2e/tools/install sid h2load
	@$(NODE) --no-warnings test/bench/overload/run.ts
