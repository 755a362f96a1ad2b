# `make compress` and `make test` work on a bare machine: they create .venv, install, and run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: compress test slow bench bench-quick bench-peers bench-gpu bench-on-gpu gpu gpu-tests docs lint clean

compress: $(VENV)/.run
	$(BIN)/python -m edgesr.compress --rank-target 0.9

# Two processes: each test runs on one thread. More on a larger machine: make test WORKERS=8
WORKERS ?= 2

test: $(VENV)/.test
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --max-worker-restart 0

slow: $(VENV)/.test
	$(BIN)/python -m pytest -q -m slow

# Saves benchmarks/results/MACHINE.json and renders the tables; COMPARE=FILE puts earlier ones beside.
bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(if $(COMPARE),--compare $(COMPARE))

bench-quick: $(VENV)/.bench
	$(BIN)/python -m benchmarks --quick

# Other tools on the shipped teacher, each in an environment of its own; ONLY="nncf ..." takes some.
bench-peers: $(VENV)/.bench-peers
	$(BIN)/python -m benchmarks.peers $(if $(ONLY),--only $(ONLY))

bench-gpu:
	@$(PYTHON) tests/has_gpu.py
	@$(MAKE) --no-print-directory VENV=.venv-gpu bench-on-gpu

bench-on-gpu: $(VENV)/.gpu
	$(BIN)/python -m benchmarks --gpu

# Every test that needs a GPU, in an environment of its own: onnxruntime-gpu replaces onnxruntime.
gpu:
	@$(PYTHON) tests/has_gpu.py
	@$(MAKE) --no-print-directory VENV=.venv-gpu gpu-tests

gpu-tests: $(VENV)/.gpu
	$(BIN)/python -m pytest -m gpu -rs --tb=short

# The API reference, from the docstrings: open docs/api/index.html.
docs: $(VENV)/.docs
	$(BIN)/python docs/build_api.py

lint: $(VENV)/.test
	$(BIN)/python -m pytest -q tests/test_lint.py tests/test_layering.py

clean:
	rm -rf $(VENV) .venv-gpu .venv-peers build docs/api *.egg-info

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "edgesr needs Python 3.11 or newer; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[deploy,search]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

$(VENV)/.bench-peers: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[bench,search]'
	@touch $@

$(VENV)/.gpu: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	$(BIN)/python -m pip uninstall --quiet --yes onnxruntime
	$(BIN)/python -m pip install --quiet 'onnxruntime-gpu[cuda,cudnn]>=1.23,<2'
	$(BIN)/python -m pip install --quiet 'tensorrt>=10,<12' || echo 'no tensorrt for this machine: tensorrt-rtx serves instead'
	@touch $@

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
