# Each target sets the environment up first where it is missing or old; ./run does that.
.DEFAULT_GOAL := help
.PHONY: help demo bench test lint clean clean-all

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo:  ## a drive through the node at four keep ratios: film, scores, page in out/demo; ARGS="--help"
	@./run python -m tggbc_ros.tools.demo $(ARGS)

bench:  ## what key pruning saves and costs: tables, and out/bench.json; ARGS="--quick"
	@./run python -m bench $(ARGS)

test:  ## all tests, end-to-end ones over real DDS included; ARGS="-k name" chooses some
	@./run pytest $(ARGS)

lint:  ## ruff, and mypy strict on core, backends, data
	@./run ruff check
	@./run ruff format --check
	@./run mypy

clean:  ## remove what was built and written, but not .venv
	rm -rf build install log out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

clean-all: clean  ## as clean, and .venv
	rm -rf .venv
