# make hello    from nothing to a running container
# make test     everything this project is tested by; as root it uses a user of its own
PYTHON ?= /usr/bin/python3
VENV ?= .venv
# What `make test` and `make bench` hand on: TESTS="tests/integration -k volume"
TESTS ?=

help:
	@echo "make hello      install what is missing and run the first container"
	@echo "make test       all tests, from a wheel; as root through an unprivileged user"
	@echo "make test-unit  the tests that need no namespace, from this tree"
	@echo "make lint       the tests that read the sources"
	@echo "make test-vm    limits, on a machine with systemd that an emulator runs"
	@echo "make bench      rl beside podman; BENCH=--all for the long ones too; BENCH_INSTALL=1"
	@echo "                installs the peers first"
	@echo "make bench-vm   starts with a scope of systemd, beside podman's, in that machine"
	@echo "make dev        $(VENV): rl running from this tree"
	@echo "make wheel      dist/*.whl"
	@echo "make helpers    the static C programs, in build/helpers"
	@echo "make clean      remove what these made in this tree"

hello:
	@sh tests/setup/hello.sh

test:
	@sh tests/setup/test.sh $(TESTS)

test-unit: dev
	$(VENV)/bin/python -m pytest -q tests/unit $(TESTS)

lint: dev
	$(VENV)/bin/python -m pytest -q tests/unit/test_lint.py tests/unit/test_imports.py \
		tests/unit/test_project.py

test-vm:
	@sh tests/vm/test.sh $(TESTS)

bench:
	@sh tests/setup/bench.sh

bench-vm:
	@VM_HALVES=bench sh tests/vm/test.sh --only '^(start|scope)$$' -n 9

helpers:
	@$(MAKE) -s -C helpers

# A link into the tree instead of an editable install: the launcher reads no .pth file.
# The package is uninstalled before the link is made, so that pip never owns what is here.
dev: helpers
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -c 'import os, sysconfig; \
		p = sysconfig.get_path("platlib") + "/rootless"; \
		os.path.islink(p) and os.remove(p)'
	@$(VENV)/bin/pip install -qq --disable-pip-version-check '.[test]'
	@$(VENV)/bin/pip uninstall -q -y rl
	@ln -sfn '$(CURDIR)/rootless' \
		"$$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/rootless"
	@install -m 755 build/helpers/rl $(VENV)/bin/rl
	@echo "$(VENV)/bin/rl runs from this tree"

wheel:
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip wheel -qq --disable-pip-version-check --no-deps -w dist .

clean:
	rm -rf build dist *.egg-info $(VENV) .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help hello test test-unit test-vm lint bench bench-vm helpers dev wheel clean
