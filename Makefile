# What a person does with this project, one target each. `make help` lists them.

SHELL := /bin/bash
export TRELLIS_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/trellis3d
# Outside the source tree, so that a second checkout, or a clean one, builds in minutes.
export CARGO_TARGET_DIR ?= $(TRELLIS_CACHE)/target
export LIBTORCH ?= $(TRELLIS_CACHE)/libtorch-2.11.0
# Opened when the background of a photo is removed.
export ORT_DYLIB_PATH ?= $(TRELLIS_CACHE)/onnxruntime-1.32.0/libonnxruntime.so
export LD_LIBRARY_PATH := $(LIBTORCH)/lib$(if $(LD_LIBRARY_PATH),:$(LD_LIBRARY_PATH))
# Tests share the cores with each other: threads of libtorch that wait must not spin.
export OMP_WAIT_POLICY ?= passive
export PATH := $(TRELLIS_CACHE)/tools/bin:$(PATH)

# Tests run what ships: one profile for programs, images and tests. And every build names the whole workspace, because the crates'
# features are then always the same: each dependency is compiled once.
run = @cargo build --release --workspace --bin $(1) && $(CARGO_TARGET_DIR)/release/$(1)

# What the measured, loaded and attacked service consists of.
programs = @cargo build --release --workspace --bin trellis-api --bin trellis-operator --bin sim_workers

.DEFAULT_GOAL := help
.PHONY: help demo test test-faults test-golden lint fmt bench bench-cluster bench-operator bench-api load security up down status images crds ui setup env

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  CLUSTER=current uses the Kubernetes of the current kubectl context instead of a local one."

demo: setup ## a photo becomes out/photo.glb on a real Kubernetes
	$(call run,demo)

test: setup ## every test there is, from unit to cluster
	@scripts/test.sh

test-faults: setup ## operator and workers while everything around them fails, 500 seeds
	TRELLIS_FAULT_SEEDS=$${TRELLIS_FAULT_SEEDS:-500} cargo test --release --workspace --test faults -- --nocapture

test-golden: setup ## the model's stages against the fixtures of the reference, with the parity table
	@scripts/golden.sh

lint: setup ## formatting, clippy, licences, charts, generated files
	@scripts/lint.sh

fmt: ## format the sources
	cargo fmt --all

bench: setup ## time the pipeline on the small model
	$(call run,trellis) bench examples/photo/photo.png --model worker/pipeline/tests/golden/15_end2end/model --quality balanced

bench-cluster: setup ## time 20 warm jobs in the cluster that make demo leaves
	$(call run,latency)

bench-operator: setup ## time the operator with thousands of jobs on an API server of its own (ARGUMENTS="--help" tells what can be chosen)
	$(programs)
	$(call run,bench_operator) $(ARGUMENTS)

bench-api: setup ## time the REST API in front of an API server of its own (ARGUMENTS="--help" tells what can be chosen)
	$(programs)
	$(call run,bench_api) $(ARGUMENTS)

load: setup ## play a spike, a ramp and a soak on the REST API; fails where too much fails or takes too long (ARGUMENTS="--help")
	$(programs)
	$(call run,load) $(ARGUMENTS)

security: setup ## attack the REST API with all there is, which takes some minutes
	$(programs)
	cargo test --release --workspace --test security --test clients -- --include-ignored

up: setup ## start the local cluster
	$(call run,cluster) up

down: ## stop the local cluster; nothing of it stays behind
	$(call run,cluster) down

status: ## what of the local cluster runs
	$(call run,cluster) status

images: setup ## build the container images
	$(call run,cluster) images

crds: ## write crds/yaml and the CRD chart from the types
	$(call run,crdgen)

ui: ## build the web page and Swagger UI into api/ui/dist
	@scripts/ui.sh api/ui/dist

setup: ## install what is missing: Debian packages, libtorch, ONNX Runtime, Node.js
	@scripts/setup.sh

env: ## print the environment for plain cargo commands: eval "$(make env)"
	@echo "export CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)' LIBTORCH='$(LIBTORCH)' LD_LIBRARY_PATH='$(LD_LIBRARY_PATH)' ORT_DYLIB_PATH='$(ORT_DYLIB_PATH)'"
