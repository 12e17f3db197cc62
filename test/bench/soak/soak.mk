# How memory behaves over time. Included by the Makefile at the root; docs/develop/testing.md says what it shows.
.PHONY: soak

soak: build engine bench-tools ## Memory over time: churn, a burst, idle connections (MINUTES= STEPS=soak,burst,idle ENGINE= CONNECTIONS=)
	@$(NODE) --no-warnings test/bench/soak/run.ts
