# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
# The developer loop. CI calls the same targets.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
export PATH := $(BIN):$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.cache/collections
LAB := dev/lab/lab
INVENTORY ?= inventories/lab
USER_NAME := $(if $(filter command line,$(origin USER)),$(USER),admin1)
TIMED := dev/timed
PYTEST := pytest -q
# Where Ansible's own rules say more than ruff and mypy do; programs and library are not Ansible's.
ANSIBLE_PLUGINS := plugins/modules/ plugins/action/ plugins/filter/ plugins/doc_fragments/

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- what the rest needs -------------------------------------------------------------------------------------------------------------

.PHONY: packages
packages: ## install the system packages that are missing (Debian, Ubuntu)
	@dev/install-packages

.PHONY: venv
venv: ## the development environment, as pinned in requirements/dev.txt
	@dev/venv requirements/dev.txt $(VENV)
	@python dev/expose_sources.py

.PHONY: requirements
requirements: ## resolve requirements/*.in again
	@dev/resolve-requirements

# --- tests, fast ones first ----------------------------------------------------------------------------------------------------------

.PHONY: test
test: venv ## every test, fast ones first
	@rm -f .cache/timings
	@$(TIMED) lint $(MAKE) --no-print-directory lint
	@$(TIMED) test-unit $(MAKE) --no-print-directory test-unit
	@$(TIMED) test-fuzz $(MAKE) --no-print-directory test-fuzz
	@$(TIMED) test-integration $(MAKE) --no-print-directory test-integration
	@$(TIMED) sanity $(MAKE) --no-print-directory sanity
	@$(TIMED) build $(MAKE) --no-print-directory test-build
	@$(TIMED) test-lab $(MAKE) --no-print-directory test-lab
	@$(TIMED) --report

.PHONY: lint
lint: venv ## ruff, mypy, yamllint, shellcheck, ansible-lint, and the house rules of tests/lint
	ruff check .
	mypy -p ds01
	@python dev/check_types.py
	yamllint --strict .
	shellcheck -x $$(git ls-files -co --exclude-standard | xargs -r grep -lE '^#!(/usr/bin/env bash|/bin/sh|/bin/bash -eu)' --)
	$(PYTEST) tests/lint
	ansible-lint -q

.PHONY: test-unit
test-unit: venv ## unit and property tests
	$(PYTEST) -n 2 tests/unit

.PHONY: test-fuzz
test-fuzz: venv ## 110,000 requests against the gate: create bodies, request lines, HTTP (FUZZ_REQUESTS, FUZZ_SEED)
	$(PYTEST) -n 2 -rP tests/fuzz

.PHONY: test-integration
test-integration: venv ## real dockerds on private sockets, simulated GPUs, real clients (INTEGRATION=full: all with every release)
	$(PYTEST) -n 2 --durations=10 tests/integration

.PHONY: test-lab
test-lab: venv ## the virtual lab server: check, converge, converge again, check again, behaviour
	dev/test-lab $(SCENARIO)

.PHONY: test-lab-bare
test-lab-bare: venv ## the same converge from a host that has none of the packages
	dev/test-lab bare

.PHONY: test-m1
test-m1: venv ## every requirement of the first milestone on a freshly converged lab server; makes docs/requirements.md
	dev/test-m1

.PHONY: test-gpu
test-gpu: venv ## what needs a real NVIDIA GPU on this machine
	$(PYTEST) tests/gpu

.PHONY: sanity
sanity: venv ## ansible-test sanity and units on a mirror of the tree
	dev/ansible-test sanity --skip-test pylint --skip-test pslint
	dev/ansible-test sanity --test pylint $(ANSIBLE_PLUGINS)
	dev/ansible-test units

.PHONY: fuzz
fuzz: venv ## longer runs of the property tests and the fuzzers (FUZZ_EXAMPLES=20000 FUZZ_REQUESTS=3000000)
	HYPOTHESIS_PROFILE=fuzz $(PYTEST) -n 2 -rP tests/fuzz
	HYPOTHESIS_PROFILE=fuzz $(PYTEST) -n 2 tests/unit

.PHONY: chaos
chaos: venv ## 2,000 starts by twenty people while gate, splice and dockerd are killed (CHAOS_STARTS, CHAOS_SEED)
	CHAOS_STARTS=$(or $(CHAOS_STARTS),2000) $(PYTEST) -s tests/integration/gate/test_chaos.py

.PHONY: bench
bench: venv ## measurements, as ratios within one run
	$(PYTEST) -s tests/bench

# --- the virtual lab server ----------------------------------------------------------------------------------------------------------

.PHONY: lab
lab: packages venv ## build, start and converge the virtual lab server, then show it at work
	$(LAB) build
	$(LAB) up
	ansible-playbook -i $(INVENTORY) playbooks/site.yml
	dev/lab/demo

.PHONY: lab-ssh
lab-ssh: ## log in: make lab-ssh USER=student1
	@$(LAB) ssh $(USER_NAME)

.PHONY: lab-down
lab-down: ## stop the lab server
	$(LAB) down

.PHONY: lab-reset
lab-reset: ## back to the snapshot, in seconds
	$(LAB) reset

# --- the artefact --------------------------------------------------------------------------------------------------------------------

.PHONY: build
build: ## the collection as a tarball; needs nothing but what galaxy.yml lists
	@dev/build-collection

.PHONY: test-build
test-build: venv ## build the tarball, install it elsewhere, read every module's and role's documentation from there
	dev/test-build

.PHONY: release-dry
release-dry: ## the version that the commits since the last tag ask for; offline
	@dev/venv requirements/release.txt .cache/release-venv
	@dev/next-version

.PHONY: release
release: ## tag, write CHANGELOG.md, build and publish; in CI
	@dev/venv requirements/release.txt .cache/release-venv
	@dev/venv requirements/dev.txt $(VENV)
	.cache/release-venv/bin/semantic-release version

.PHONY: clean
clean: ## remove what the tests left
	rm -rf .cache/mirror .cache/timings .cache/outputs .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/output ./*.tar.gz
