# Shortcuts for people. The README's commands and .ci/run do not need make.
.PHONY: help test race sizes quickstart bench fuzz lint ci

MODULES := . examples examples/libpq examples/libraries integration
FUZZTIME ?= 30s

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

test: ## the tests of all modules
	@for m in $(MODULES); do go -C $$m test ./... || exit; done

race: ## the same with the race detector, in random order
	@GOFLAGS="-race -shuffle=on" $(MAKE) --no-print-directory test

sizes: ## how large programs are, what they link, and their go.sum
	@.ci/sizes

quickstart: ## the main job, in one process
	@go -C examples run ./quickstart

bench: ## benchmarks of all modules
	@for m in $(MODULES); do go -C $$m test -run '^$$' -bench . ./... || exit; done

fuzz: ## every fuzz target for FUZZTIME
	@.ci/fuzz $(FUZZTIME)

lint: ## what .ci/run checks without running anything
	@.ci/lint full

ci: ## the check that every submission passes; .ci/run full is everything
	@.ci/run
