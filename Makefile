# The commands of this repository. A newcomer needs two: `make up` and `make test`.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(HOME)/.cargo/bin:$(PATH)

# What runs at the end of `make up`; another folder of manifests may be named.
FILES ?= examples/laptop
NAME ?= all

.PHONY: help up down clean-data build images setup test check fmt prove fuzz bench bench-edge

help: ## shows this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

up: ## installs what is missing, builds, starts two cells of WordPress with four tenants, prints their addresses
	@scripts/up -f blueprints/wordpress -f $(FILES)

down: ## stops everything that `make up` started; data is kept
	@scripts/down

clean-data: ## removes all data of the installation, after asking
	@scripts/clean-data

setup: ## installs system packages and makes a Docker daemon answer
	@scripts/setup

build: ## compiles the program
	@. scripts/common.sh; phase "compile" cargo build --release --locked -p atoll

images: ## builds the container images that have changed
	@scripts/images

test: ## every test, on real components
	@scripts/test

check: ## formatting, lints, layers, sizes and words, licences
	@scripts/check

fmt: ## formats the Rust code
	@cargo fmt --all

prove: ## NAME=writer-loss: one claim on the real platform, with figures; without NAME all of them
	@scripts/setup
	. scripts/common.sh
	phase "compile" cargo build --release --locked -p atoll
	scripts/images
	cargo xtask prove $(NAME)

fuzz: ## NAME=request: a parser of outside input under libFuzzer for a minute (SECONDS_EACH); without NAME each of them
	@scripts/fuzz $(if $(filter-out all,$(NAME)),$(NAME))

bench: ## the planner at 1,000 cells and 200,000 tenants, and at a tenth of that: seconds and memory
	@cargo run --release --locked -q -p sim -- scale

bench-edge: ## what a request costs at the edge, beside nginx with Lua, HAProxy and Envoy; BENCH="--cases small" chooses
	@scripts/bench-edge $(BENCH)
