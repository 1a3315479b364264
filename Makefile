# Everything from a fresh clone, with only Python >= 3.10 and make. `make` alone explains itself.

PYTHON ?= python3
# Where `make install` and `make uninstall` act, see packaging/install.sh.
export DESTDIR PREFIX SYSCONFDIR TARGET_PYTHON PURGE
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
DEBIAN_PACKAGES := python3-venv libgl1 libglib2.0-0 libgomp1 systemd-container debootstrap chromium

# What a wheel is made of, so that it is made anew when one of them has changed.
SHIPPED = pyproject.toml LICENSE $(shell find yolowatch -type f -not -name '*.pyc')

# A slice may hold no test yet; pytest's exit status 5 says only that.
OR_NOTHING := || test $$? -eq 5

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint deps trainers faults system gpu-test bench \
	trainers-slice faults-slice system-slice environment clean wheel package install uninstall \
	dashboards dashboards-render

help: ## this list
	@echo "yolowatch: make TARGET"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
	@echo "PYTHON=$(PYTHON) makes the virtual environment; YOLOWATCH_TRAINER_PYTHON, if set, names"
	@echo "the Python that has the trainer, and then no environment is built for it."

venv: $(VENV)/dev.stamp ## the virtual environment .venv with all tools of development

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
		echo "$(PYTHON) is missing or older than 3.10: name another one, make PYTHON=python3.11"; \
		exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: install python3-venv (make deps)"; \
		exit 1; }

$(VENV)/runtime.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -e .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/runtime.stamp

environment: # the trainers' Pythons, built ahead so that their progress is seen
	@for trainer in ultralytics $(if $(YOLOWATCH_TRAINER_PYTHON),,yolov5 yolov9); do \
		$(PYTHON) tests/environments.py $$trainer >/dev/null || exit 1; done

demo: $(VENV)/runtime.stamp ## a real training runs out of memory and is resumed, in minutes
	@trainer=$$($(PYTHON) tests/environments.py ultralytics) && \
		$(BIN)/yolowatch demo --python "$$trainer"

test: lint environment ## lint and every test but the slow suites, in less than 15 minutes
	$(PYTEST) --durations=10 -n 2 --dist loadfile

lint: $(VENV)/dev.stamp ## ruff, mypy and the contracts of import
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --python-version 3.11 grafana
	$(BIN)/lint-imports --no-cache --no-logo

trainers: $(VENV)/dev.stamp environment ## every test with a real trainer; records their matrix
	mkdir -p build && $(PYTEST) -m trainers --durations=10 --junit-xml=build/trainers.xml; \
		tests=$$?; $(BIN)/python -m tests.trainers.matrix build/trainers.xml && exit $$tests

faults: $(VENV)/dev.stamp environment ## every enumerated fault; records the matrix of kills
	mkdir -p build && $(PYTEST) -m faults --durations=10 -o junit_family=xunit1 --junit-xml=build/faults.xml; \
		tests=$$?; $(BIN)/python -m tests.faults.matrix build/faults.xml && exit $$tests

system: $(VENV)/dev.stamp ## a real systemd and Prometheus; needs root
	$(PYTEST) -m system --durations=10

trainers-slice: $(VENV)/dev.stamp environment
	$(PYTEST) -m 'trainers and slow and slice' $(OR_NOTHING)

faults-slice: $(VENV)/dev.stamp environment
	$(PYTEST) -m 'faults and slice' $(OR_NOTHING)

system-slice: $(VENV)/dev.stamp environment
	$(PYTEST) -m 'system and slice' $(OR_NOTHING)

# Only tests/gpu is collected: the trainer's Python has torch and pytest, not the tools of .venv.
ifdef YOLOWATCH_TRAINER_PYTHON
gpu-test: ## the tests that need a CUDA device, in the trainer's Python if that is named
	PYTHONPATH=. "$(YOLOWATCH_TRAINER_PYTHON)" -m pytest -m gpu tests/gpu
else
gpu-test: $(VENV)/dev.stamp environment
	$(PYTEST) -m gpu tests/gpu
endif

bench: $(VENV)/runtime.stamp environment ## every measurement in bench/, minutes each
	@for program in bench/*.py; do \
		test -f "$$program" || { echo "bench/ holds no measurement"; exit 0; }; \
		echo "== $$program" && $(BIN)/python "$$program" || exit 1; done

# Prometheus and Alertmanager are not among them, because installing them starts them as services:
# tests/environments.py unpacks them into the cache instead.
deps: ## Debian's packages that the tests use; needs root, starts no service
	@command -v apt-get >/dev/null || { \
		echo "no apt-get here: install the likes of $(DEBIAN_PACKAGES)"; exit 1; }
	@test "$$(id -u)" = 0 || { echo "make deps installs Debian packages: run it as root"; exit 1; }
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $(DEBIAN_PACKAGES)

dashboards: $(VENV)/dev.stamp ## writes grafana/dashboards/*.json anew from their code
	$(BIN)/python -m grafana.source

dashboards-render: $(VENV)/dev.stamp environment ## draws them with Grafana's components (460 MB)
	cd grafana/render && npm install && node schema.mjs
	$(BIN)/python -m tests.grafana.pictures

$(VENV)/package.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check -e '.[package]'
	@touch $@ $(VENV)/runtime.stamp

wheel: dist/wheel.stamp ## dist/yolowatch-VERSION-py3-none-any.whl
dist/wheel.stamp: $(VENV)/package.stamp $(SHIPPED)
	rm -rf build/lib build/bdist.* dist/*.whl
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir dist .
	@touch $@

package: dist/package.stamp ## a Debian package with its own libraries, for this machine's python3
	@echo dist/yolowatch_*.deb
dist/package.stamp: dist/wheel.stamp $(shell find packaging systemd -type f)
	rm -f dist/*.deb
	BUILD_PYTHON=$(CURDIR)/$(BIN)/python packaging/deb.sh dist/yolowatch-*.whl dist
	@touch $@

install: wheel ## as a service; DESTDIR, PREFIX (/usr/local), SYSCONFDIR (/etc), TARGET_PYTHON
	BUILD_PYTHON=$(CURDIR)/$(BIN)/python packaging/install.sh dist/yolowatch-*.whl

uninstall: ## takes that away; PURGE=1 also the configuration and the journal
	packaging/uninstall.sh

clean: ## removes what was built here; the cache of trainers' Pythons stays
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find yolowatch tests -name __pycache__ -type d -prune -exec rm -rf {} +
