# What a person does with this project, one target each. `make help` lists them.

SHELL := /bin/bash
export TRELLIS_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/trellis3d
# Outside the source tree, so that a second checkout, or a clean one, builds in minutes.
export CARGO_TARGET_DIR ?= $(TRELLIS_CACHE)/target
export LIBTORCH ?= $(TRELLIS_CACHE)/libtorch-2.11.0
export LD_LIBRARY_PATH := $(LIBTORCH)/lib$(if $(LD_LIBRARY_PATH),:$(LD_LIBRARY_PATH))
export PATH := $(TRELLIS_CACHE)/tools/bin:$(PATH)
# The tests run what ships: one profile for programs, images and tests, and everything is compiled once.
PROFILE ?= --release

cluster := cargo run $(PROFILE) --quiet -p trellis-e2e --bin cluster --

.DEFAULT_GOAL := help
.PHONY: help demo test test-golden lint fmt bench up down status images crds setup env

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  CLUSTER=current uses the Kubernetes of the current kubectl context instead of a local one."

demo: setup ## a photo becomes out/photo.glb on a real Kubernetes
	@cargo run $(PROFILE) --quiet -p trellis-e2e --bin demo

test: setup ## every test there is, from unit to cluster
	@scripts/test.sh

test-golden: setup ## the model's stages against the fixtures of the reference, with the parity table
	@scripts/golden.sh

lint: setup ## formatting, clippy, licences, charts, generated files
	@scripts/lint.sh

fmt: ## format the sources
	cargo fmt --all

bench: setup ## time the pipeline on the small model
	cargo run $(PROFILE) --quiet -p trellis --bin trellis -- bench --model worker/pipeline/tests/golden/15_end2end/model

up: setup ## start the local cluster
	@$(cluster) up

down: ## stop the local cluster; nothing of it stays behind
	@$(cluster) down

status: ## what of the local cluster runs
	@$(cluster) status

images: setup ## build the container images
	@$(cluster) images

crds: ## write crds/yaml and the CRD chart from the types
	cargo run $(PROFILE) --quiet -p trellis-crds --bin crdgen

setup: ## install what is missing: Debian packages, libtorch
	@scripts/setup.sh

env: ## print the environment for plain cargo commands: eval "$(make env)"
	@echo "export CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)' LIBTORCH='$(LIBTORCH)' LD_LIBRARY_PATH='$(LD_LIBRARY_PATH)'"
