# Every target sets up .venv by itself, and again only when what it is made from has changed.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: setup demo test test-kafka test-ops check format bench bench-compare bench-sweep bench-latency bench-peers bench-detection soak docs clean
.DEFAULT_GOAL := help

help:
	@echo "make setup   .venv with everything"
	@echo "make demo    simulate a retailer's day, run the job over it, show what it found"
	@echo "make test    all tests"
	@echo "make test-kafka  tests that use a broker, over Apache Kafka itself (needs java and maven)"
	@echo "make test-ops  manifests, alert rules, dashboards, monitoring, with kustomize, compose-spec, Prometheus and Alertmanager (fetches them)"
	@echo "make check   format, lint, types, import contracts; licences, pins, known vulnerabilities, bill of materials"
	@echo "make format  let the formatter and the linter mend what they can"
	@echo "make bench   events per second and memory, stage by stage"
	@echo "make bench-compare BASE=REF  is a hot path slower than at another commit, beyond the noise?"
	@echo "make bench-sweep    cost over keys, batch, groups, processes; of snapshots; of a start (an hour)"
	@echo "make bench-latency  from message to visible row, under a live feed"
	@echo "make bench-peers    the same work by Andon and its peers (installs them into .peers; hours)"
	@echo "make bench-detection  every kind of breakdown ten times, and clean days: what is found of them (an hour)"
	@echo "make soak    an hour under load, with kills and outages: nothing lost, memory and latency flat"
	@echo "make docs    the documentation as a site, in build/site"
	@echo "make clean   remove .venv and what runs leave behind"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is not Python 3.11 or newer: name one with make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "setting up $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(STAMP)

demo: $(STAMP)
	$(BIN)/andon demo

# tests start some hundred processes: what is compiled is kept, whatever the caller's environment says
test test-kafka test-ops: export PYTHONDONTWRITEBYTECODE :=

# One worker for each of the two processors that this is made for. They keep them busy for six sevenths of the time: tests
# that wait start processes of their own. A third worker would use the rest, and make everything later that is timed.
test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

test-kafka: $(STAMP)
	sh tests/get_kafka.sh .kafka
	$(BIN)/python -m tests.over_apache .kafka

test-ops: $(STAMP)
	sh infra/get_tools.sh .ops
	ANDON_TEST_OPS=1 PROMTOOL=$(CURDIR)/.ops/bin/promtool KUSTOMIZE=$(CURDIR)/.ops/bin/kustomize \
		COMPOSE_SPEC=$(CURDIR)/.ops/bin/compose-spec \
		PROMETHEUS=$(CURDIR)/.ops/bin/prometheus ALERTMANAGER=$(CURDIR)/.ops/bin/alertmanager ANDON_TEST_KAFKA_HOME=$(CURDIR)/.kafka \
		$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder tests/test_infra_*.py

check: $(STAMP) build/sbom.json
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python infra/supply_chain/check.py --audit

# the bill takes some seconds, and changes only with what is installed
build/sbom.json: $(STAMP) $(wildcard infra/supply_chain/*.py)
	$(BIN)/python infra/supply_chain/check.py --sbom $@

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	$(BIN)/python benchmarks/bench.py

bench-compare: $(STAMP)
	@test -n "$(BASE)" || { echo "name a commit: make bench-compare BASE=HEAD~1"; exit 2; }
	$(BIN)/python benchmarks/compare.py "$(BASE)"

bench-sweep: $(STAMP)
	$(BIN)/python benchmarks/sweep.py
	$(BIN)/python benchmarks/snapshot.py
	$(BIN)/python benchmarks/start.py

bench-latency: $(STAMP)
	$(BIN)/python benchmarks/latency.py

bench-peers: $(STAMP)
	$(BIN)/python benchmarks/peers/run.py

bench-detection: $(STAMP)
	$(BIN)/python benchmarks/detection/run.py --json build/detection.json

soak: $(STAMP)
	$(BIN)/python benchmarks/soak.py

# The site's tool has a .venv of its own: Andon does not need it, nor does it need Andon.
DOCS := build/docs-venv
$(DOCS)/.installed: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "$(PYTHON) is not Python 3.11 or newer: name one with make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "setting up $(DOCS) ..."
	@test -x $(DOCS)/bin/python || $(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt mkdocs-material
	@touch $@

docs: $(DOCS)/.installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --config-file infra/docs/mkdocs.yml
	@echo "build/site/index.html"

clean:
	rm -rf $(VENV) andon.db demo-out build dist .hypothesis .mypy_cache .ruff_cache .pytest_cache soak-out
