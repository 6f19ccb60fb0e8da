# Each target sets the environment up first where it is missing or old; ./run does that.
.DEFAULT_GOAL := help
.PHONY: help demo bench bench-ros drill test test-mmdet3d lint clean clean-all

help:  ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo:  ## a drive through the dense network and a faster one: what is saved, film, scores, page in out/demo; ARGS="--help"
	@./run python -m tggbc_ros.tools.demo $(ARGS)

bench:  ## what key pruning saves and costs: tables, and out/bench.json; ARGS="--quick"
	@./run python -m bench $(ARGS)

bench-ros:  ## what the node costs beside its network: six 1600x900 cameras at 12 Hz over DDS; out/ros_side.json
	@./run python -m bench.ros_side $(ARGS)

drill:  ## the node through every fault of the road: table, and out/drill.json; ARGS="--soak 30" is a long run instead
	@./run python -m drill $(ARGS)

test:  ## all tests, end-to-end ones over real DDS included; ARGS="-k name" chooses some
	@./run env/add.sh --quiet fleet peers
	@./run pytest $(ARGS)

test-mmdet3d:  ## tests of the mmdet3d plugin, with mmdet3d beside .venv; MODE=full compiles mmcv (16 min)
	@./run env/mmdet3d.sh $(or $(MODE),lite) $(ARGS)

lint:  ## ruff, and mypy strict on core, backends, data
	@./run ruff check
	@./run ruff format --check
	@./run mypy

clean:  ## remove what was built and written, but not .venv
	rm -rf build install log out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

clean-all: clean  ## as clean, and .venv, .venv-mmdet3d
	rm -rf .venv .venv-mmdet3d
