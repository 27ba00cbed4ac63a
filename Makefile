# What a new machine needs: Python 3.11+, JDK 17+, Maven, make. Everything else is fetched, pinned, and cached.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
UNIT := not servers and not faults and not k8s and not cluster
UNIT_TESTS := tests --ignore=tests/deploy
# One process a core; fewer examples of the property tests than in CI, where everything is tried.
UNIT_RUN := -n auto --dist worksteal $(if $(CI),,--hypothesis-profile=quick)
COVERAGE := --cov=agents --cov=pipeline --cov-branch --cov-report= --cov-report=json:build/coverage.json

.DEFAULT_GOAL := help
.PHONY: help venv demo unit coverage test test-servers test-faults soak test-k8s k8s-binaries test-cluster cluster-binaries promtool check check-code check-deploy bench bench-features bench-trickle mutants bench-peers compiled docs lock clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

venv: .venv/.made ## the virtual environment, from the locks

.venv/.made: requirements.lock tests/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "crisp needs Python 3.11 or newer: $(PYTHON) is older (set PYTHON=...)"; exit 1; }
	@test -d .venv || $(PYTHON) -m venv .venv
	@echo "installing $$(grep -c '^[a-z].*==' tests/requirements.lock) Python packages into .venv: a minute or two" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: venv ## the whole pipeline on this machine, and a report (ARGS="--lines 100000 --chaos")
	@$(BIN)/crisp demo $(ARGS)

unit: export PYTHONDONTWRITEBYTECODE := # empty: compiled tests are kept, also where the environment forbids it
unit: venv ## the fast half: no JVM, under two minutes (ARGS="-k name" runs some)
	@$(BIN)/pytest -q -m "$(UNIT)" $(UNIT_TESTS) $(or $(ARGS),$(UNIT_RUN))

coverage: export PYTHONDONTWRITEBYTECODE :=
coverage: venv ## the same tests with branch coverage as a table, and its minimum
	@$(BIN)/pytest -q -m "$(UNIT)" $(UNIT_TESTS) $(UNIT_RUN) $(COVERAGE)
	@$(BIN)/python -m tests.support.coverage_gate build/coverage.json

test-servers: venv ## the other half: all tests on real Kafka and Elasticsearch, but the long suites (ARGS="-k name")
	@$(BIN)/pytest -m "servers and not faults and not k8s and not cluster" $(ARGS)

test: venv ## all tests but the long suites; real Kafka and Elasticsearch (ARGS="-k name")
	@$(BIN)/pytest -m "not faults and not k8s and not cluster" $(ARGS)

test-faults: venv ## the fault suite, an hour or two; build/fault-results.md has its table (FAULT=name runs one)
	@$(BIN)/pytest -m faults $(if $(FAULT),-k "$(FAULT)") $(ARGS)

soak: venv ## a node with 200 pods, a fifth of them hostile, for an hour; build/soak.md (ARGS="--minutes 30")
	@$(BIN)/python -m tests.faults.soak $(ARGS)

test-k8s: venv k8s-binaries ## tests on a real Kubernetes control plane (ARGS="-k name")
	@$(BIN)/pytest -m k8s $(ARGS)

k8s-binaries: venv ## build that control plane with Go, install Ansible: once, into the cache (ten minutes)
	@$(BIN)/python -m tests.k8s.binaries
	@$(BIN)/python -m tests.deploy.ansible

test-cluster: venv cluster-binaries ## with real containers, as root: a node with kubelet and containerd (table: build/cluster.md), the Compose file
	@rm -f build/cluster.md
	@$(BIN)/pytest -m cluster $(ARGS)

cluster-binaries: venv ## build that node and Compose with Go, and its images: once, into the cache (twenty minutes)
	@$(BIN)/python -m tests.k8s.binaries --node
	@$(BIN)/python -m tests.cluster.node.images

check: check-code check-deploy coverage ## all that needs no server: these three

check-code: venv ## format, lint, types, imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check-deploy: venv ## build the manifests, check them by schema and against the code (ARGS="-k name")
	@$(BIN)/pytest -q -m "not k8s" tests/deploy $(ARGS)

bench: venv ## speed and memory of shipper and worker as a table, build/bench.md (ARGS='--only "10 files, zstd"')
	@$(BIN)/python -m tests.benchmarks.throughput $(ARGS)

bench-features: venv ## what each feature of the worker's costs, as a table (build/features.md)
	@$(BIN)/python -m tests.benchmarks.features $(ARGS)

bench-trickle: venv ## quiet containers: cost of slices of one line (ARGS="--old DIRECTORY": in turns with another tree)
	@$(BIN)/python -m tests.benchmarks.trickle $(ARGS)

mutants: venv ## faults put into the pure half one by one: which does no test notice? An hour (ARGS="pipeline.contract.cri")
	@$(BIN)/python -m tests.benchmarks.mutants $(ARGS)

bench-peers: venv ## rsyslog and the OpenTelemetry Collector at the same work, side by side (where they are here)
	@$(BIN)/python -m tests.benchmarks.peers $(ARGS)

promtool: venv ## build Prometheus's promtool once with Go (some five minutes), to test the alerts with
	@$(BIN)/python -m tests.deploy.promtool

docs: venv ## renew what is made from the code: tables in docs/, manifests
	@$(BIN)/python -m tests.generated_docs
	@$(BIN)/python -m tests.deploy.generated

compiled: venv ## compile the modules that make documents, as for the images, and run their tests on them (build/compiled)
	@rm -rf build/compiled && mkdir -p build/compiled
	@git ls-files -co --exclude-standard | tar -c -T - | tar -x -C build/compiled
	@cd build/compiled && HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(CURDIR)/$(BIN)/python -m hatchling build -t wheel
	@cd build/compiled && $(CURDIR)/$(BIN)/python -m pytest -q $(UNIT_RUN) $(addprefix tests/pipeline/,contract grouping parsing documents rules) $(ARGS)

lock: venv ## renew the locks from pyproject.toml
	@HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header --only-build-deps --build-deps-for wheel -o deploy/images/build.lock pyproject.toml
	@$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header -o tests/deploy/ansible.lock tests/deploy/ansible.in
	@$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header -o requirements.lock pyproject.toml
	@$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header --extra dev -o tests/requirements.lock pyproject.toml

clean: ## what was made here, but not the cache of servers
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build *.egg-info
