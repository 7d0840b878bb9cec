# What each target does in detail is in scripts/NAME.sh.
.DEFAULT_GOAL := help
.PHONY: help run test bench fuzz-jit web check dist

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 16

run: ## build, prepare a Linux machine, put its prompt in the browser (MIRROR=URL outside Debian)
	@MIRROR='$(MIRROR)' scripts/run.sh

test: ## install what the tests need and run all of them
	@scripts/test.sh

bench: ## measure against QEMU and print the table
	@scripts/bench.sh

fuzz-jit: ## compare the engines with each other and with QEMU for hours (HOURS=1)
	@HOURS='$(HOURS)' scripts/fuzz-jit.sh

web: ## build the pages into web/dist
	@scripts/web.sh

check: ## the quick checks: format, lints, types
	@scripts/check.sh

dist: ## one self-contained binary and a Debian package in dist/
	@scripts/dist.sh
