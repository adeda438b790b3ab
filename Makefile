# Every target makes the environment it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RUN := runs/quickstart
STARTER := sentiment_hf/starter

VENV5 := .venv-transformers5
VENV_LOWEST := .venv-lowest
VENV_NEWER := .venv-newer
VENV_WHEEL := .venv-wheel
EXTRAS := onnx,peft,plots,excel,explain,search,clean,enrich,serve,demo,quickstart,dev
# The newest Python that runs here and is newer than 3.11; empty where there is none.
NEWER_PYTHON ?= $(shell for python in python3.14 python3.13 python3.12; do $$python -c '' 2>/dev/null && echo $$python && break; done)
# One test file a core, each on one thread: together they would only get in each other's way.
TESTING := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1

.PHONY: help quickstart starter test test-gpu mutation test-transformers5 test-wheel test-matrix bench docs lint format clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(f"Python 3.11 or newer is needed, found {sys.version.split()[0]}: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS),trackers,openvino]'
	@touch $@

quickstart: $(INSTALLED) ## the main job on real reviews, about six minutes: table and three predictions
	HF_HUB_OFFLINE=1 $(BIN)/sentiment-hf train --config recipes/reviews/quickstart.yaml --output_dir $(RUN) --overwrite_output_dir
	@$(BIN)/sentiment-hf predict --model $(RUN) --backend onnx "房间干净，服务也很热情，下次还住这里" "房间很吵，再也不来了" "物流很快，东西很好用，孩子很喜欢"

starter: $(INSTALLED) ## the models that come with the package, made anew: make starter TEACHER=FOLDER_OR_ID DATA=FOLDER
	$(BIN)/sentiment-hf compress distill --config recipes/starter/distill.yaml --teacher $(TEACHER) --data_dir $(DATA) --output_dir runs/starter --resume_from_checkpoint true
	cp runs/starter/config.json runs/starter/tokenizer*.json runs/starter/special_tokens_map.json runs/starter/model.safetensors $(STARTER)
	$(BIN)/sentiment-hf train --config recipes/starter/reviews.yaml --data_dir $(DATA) --output_dir runs/starter-reviews --resume_from_checkpoint true
	mkdir -p $(STARTER)/reviews/onnx
	cp runs/starter-reviews/config.json runs/starter-reviews/tokenizer*.json runs/starter-reviews/special_tokens_map.json $(STARTER)/reviews
	cp runs/starter-reviews/onnx/model_quint8_avx2.onnx $(STARTER)/reviews/onnx

test: $(INSTALLED) ## all tests
	$(TESTING) $(BIN)/python -m pytest -n auto

test-gpu: $(INSTALLED) ## what says GPU, on one: training, memory, resuming, processes, prediction; minutes, skipped without one
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m gpu tests/gpu

$(VENV5)/.installed: setup.cfg pyproject.toml constraints-transformers5.txt
	$(PYTHON) -m venv $(VENV5)
	$(VENV5)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-transformers5.txt -e '.[peft,plots,excel,explain,search,clean,enrich,serve,demo,ray,quickstart,dev]'
	@touch $@

test-transformers5: $(VENV5)/.installed ## the core's tests on transformers 5, and Ray's engine, in an environment of their own
	$(TESTING) $(VENV5)/bin/python -m pytest -n auto --ignore=tests/serving/test_browser.py tests/data tests/foreign tests/modeling tests/training tests/distillation tests/evaluation tests/serving tests/compression tests/publishing tests/enrich tests/test_aspects.py
	$(TESTING) RAY_worker_niceness=0 $(VENV5)/bin/python -m pytest -m ray tests/serving/test_ray.py

$(VENV_WHEEL)/.installed: setup.cfg setup.py pyproject.toml constraints.txt LICENSE NOTICE $(shell find sentiment_hf spaces_demo -type f -not -name "*.pyc")
	$(PYTHON) -m venv $(VENV_WHEEL)
	rm -rf dist build && $(BIN)/python -m build --wheel --outdir dist . > /dev/null
	$(VENV_WHEEL)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch pytest dist/*.whl
	$(VENV_WHEEL)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall dist/*.whl
	@touch $@

test-wheel: $(INSTALLED) $(VENV_WHEEL)/.installed ## the built wheel without sources and extras: what works, and what it asks for
	cd $(VENV_WHEEL) && $(TESTING) bin/python -m pytest -p no:cacheprovider --rootdir=.. ../tests/installed

$(VENV_LOWEST)/.installed: setup.cfg pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(VENV_LOWEST)
	$(VENV_LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-lowest.txt -e '.[$(EXTRAS)]'
	@touch $@

# Where the package index has no small CPU build of torch for that Python, this downloads gigabytes.
$(VENV_NEWER)/.installed: setup.cfg pyproject.toml constraints.txt
	$(if $(NEWER_PYTHON),$(NEWER_PYTHON) -m venv $(VENV_NEWER))
	$(if $(NEWER_PYTHON),$(VENV_NEWER)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]')
	@mkdir -p $(VENV_NEWER) && touch $@

test-matrix: $(INSTALLED) $(VENV5)/.installed $(VENV_LOWEST)/.installed $(VENV_NEWER)/.installed $(VENV_WHEEL)/.installed ## the core's tests in every environment, a quarter of an hour and gigabytes of packages: docs/results/test-matrix.md
	$(BIN)/python tests/run_matrix.py --output docs/results/test-matrix.md

mutation: $(INSTALLED) ## break the package on purpose, change by change, and see which tests notice; goes on where it was stopped
	$(BIN)/python tests/mutation/run.py --write

bench: $(INSTALLED) ## how fast the quickstart's model is in every way to run it, on its held-out reviews; makes it where it is not there
	@[ -f $(RUN)/onnx/model.onnx ] || $(MAKE) quickstart
	HF_HUB_OFFLINE=1 $(BIN)/sentiment-hf compress bench --model $(RUN) --data $(RUN)/splits/test.jsonl --output_dir $(RUN)/bench

docs: $(INSTALLED) ## the API reference out of the docstrings: build/docs/index.html
	$(BIN)/python docs/build_reference.py build/docs

lint: $(INSTALLED) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment, runs and caches
	rm -rf $(VENV) $(VENV5) $(VENV_LOWEST) $(VENV_NEWER) $(VENV_WHEEL) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
