# Start here: make demo, make test, make check. Each of them does the set-up first; what is up to date is skipped.
#
#   ARGS=...       goes to the demo or to pytest:  make test ARGS='tests/unit -x'
#   SECONDS=...    how long make chaos goes on (default: 60)
#   PG_CONFIG=...  the PostgreSQL to build for and install into (default: Debian's 15)
#   PYTHON=...     the interpreter behind .venv, 3.11 or newer, in a folder that every user can read

PG_CONFIG ?= /usr/lib/postgresql/15/bin/pg_config
PYTHON ?= /usr/bin/python3
ARGS ?=
SECONDS ?= 60
BIN := .venv/bin

export PG_CONFIG PYTHON ARGS

.PHONY: build demo test deb test-deb test-all-pg sanitize bench chaos mutations check page-pictures fmt clean
.DEFAULT_GOAL := build

build: # Debian packages, .venv, the C core and its Python binding, the extension in PostgreSQL
	@tools/setup

demo: build # a PostgreSQL that loses its pageserver twice: the control plane observes, then acts
	@$(BIN)/python -m devstack.demo $(ARGS)

test: build
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=10 $(ARGS)

deb: # Debian packages of the daemons and the library, into build/deb
	@tools/deb

test-deb: build deb # installs, runs, upgrades and purges these packages on a copy of this machine; needs root
	@DEBS=build/deb $(BIN)/pytest tests/packages

test-all-pg: build # the extension's tests on PostgreSQL 13, 15, 16, 17 and 18, and a 15 with assertions: those found or fetched
	@tools/test-all-pg

sanitize: build # address and undefined-behaviour sanitizers on core and extension, libFuzzer on the core
	@tools/sanitize

bench: build # cost, heal time, herd, daemon, start from nothing, following Patroni, outages, fleet, control plane; then the plots. PATRONI=1 installs Patroni to compare with
	@$(BIN)/python -m bench.cost
	@$(BIN)/python -m bench.heal $(ARGS)
	@$(BIN)/python -m bench.herd
	@$(BIN)/python -m bench.daemon $(if $(PATRONI),--patroni)
	@$(BIN)/python -m bench.start
	@$(BIN)/python -m bench.follow
	@$(BIN)/python -m bench.outage
	@$(BIN)/python -m bench.fleet --plot docs/fleet.svg
	@$(BIN)/python -m bench.control_plane
	@$(BIN)/python -m bench.plots

chaos: build # half of SECONDS in simulation, half on real processes that are killed, stopped and cut off
	@half=$$(( $(SECONDS) / 2 )); status=0; \
	for what in simulation simulation_control_plane; do \
		$(BIN)/python -m tests.$$what --from $$(date +%s) --seconds $$(( half / 2 )) || status=1; \
	done; \
	$(BIN)/python -m tests.chaos --quiet --seconds $$(( half / 2 )) $(ARGS) || status=1; \
	$(BIN)/python -m tests.chaos.fleet_run --seed $$(date +%s) --rounds $$(( half / 20 + 1 )) || status=1; \
	exit $$status

mutations: build # breaks the product in many ways: some test must notice each
	@$(BIN)/python -m tests.mutations $(ARGS)

check: build # format, lint, types, layers, docs, C warnings
	@tools/check

page-pictures: build # the pictures of the control plane's page in docs/images; needs Debian's chromium
	@mkdir -p docs/images
	@PAGE_PICTURES=docs/images $(BIN)/pytest -q tests/control_plane/test_page_in_browser.py

fmt:
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix
	@$(BIN)/python tools/check_asserts.py --fix
	@tools/c-files | xargs -r $(BIN)/clang-format -i

clean: # keeps .venv; what was installed into PostgreSQL stays too
	rm -rf build pg_hook/*.so .*_cache
	@$(MAKE) -s -C extension clean with_llvm=no 2>/dev/null || true
