# make demo   train an HMM on real fMRI, from the recordings to figures
# make test   all checks and tests
# make outputs   the outputs that the guide shows, from its commands; minutes
# make wheel-check   the README's blocks in a new environment outside the repository, from the wheel; minutes
# The first two make .venv first; only python3 (3.11 or newer) is needed. The demo installs what dynml runs with, the
# tests the developers' tools as well.

PYTHON ?= python3
BIN := .venv/bin
DEMO_FOLDER ?= demo_output

.PHONY: demo test lint unit processor docs outputs wheel-check clean

# What keeps oneDNN, torch, numba and OpenBLAS from instructions beyond AVX2
AVX2_ONLY := ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma OPENBLAS_CORETYPE=Haswell

demo: $(if $(wildcard .venv/installed),.venv/installed,.venv/runs)
	MPLBACKEND=Agg $(BIN)/python -m dynml.cli.demo $(DEMO_FOLDER)

test: lint unit processor docs

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: .venv
	OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -n 2

# Where there is no AVX-512, `unit` has run without it already.
processor: .venv
	if grep -qsw avx512f /proc/cpuinfo; then $(AVX2_ONLY) OMP_NUM_THREADS=1 MPLBACKEND=Agg $(BIN)/python -m pytest -n 2 -m processor; fi

docs: .venv
	$(BIN)/sphinx-build -q -W --keep-going docs docs/_build

outputs: .venv
	OMP_NUM_THREADS=1 $(BIN)/python docs/outputs.py

# Another build of PyTorch: TORCH=torch==2.13.0
TORCH ?= torch

wheel-check:
	$(PYTHON) packaging/check_wheel.py --torch "$(TORCH)"

.venv: .venv/installed

.venv/installed: setup.py requirements.txt requirements-dev.txt $(wildcard scripts_python/*.py)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch .venv/runs .venv/installed

.venv/runs: setup.py requirements.txt $(wildcard scripts_python/*.py)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt "setuptools>=77.0.3"
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch .venv/runs

clean:
	rm -rf .venv build *.egg-info docs/_build docs/reference/generated docs/reference/api_objects.rst
