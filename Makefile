# Every target makes the environment it needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RUN := runs/quickstart
STARTER := sentiment_hf/starter

VENV5 := .venv-transformers5
# One test file a core, each on one thread: together they would only get in each other's way.
TESTING := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1

.PHONY: help quickstart starter test test-transformers5 lint format clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(f"Python 3.11 or newer is needed, found {sys.version.split()[0]}: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[onnx,peft,plots,explain,search,clean,enrich,serve,demo,quickstart,dev]'
	@touch $@

quickstart: $(INSTALLED) ## the main job on real reviews, about six minutes: table and three predictions
	HF_HUB_OFFLINE=1 $(BIN)/sentiment-hf run --config recipes/reviews/quickstart.yaml --output_dir $(RUN) --overwrite_output_dir
	@$(BIN)/sentiment-hf predict --model $(RUN) --backend onnx "房间干净，服务也很热情，下次还住这里" "房间很吵，再也不来了" "物流很快，东西很好用，孩子很喜欢"

starter: $(INSTALLED) ## the models that come with the package, made anew: make starter TEACHER=FOLDER_OR_ID DATA=FOLDER
	$(BIN)/sentiment-hf distill --config recipes/starter/distill.yaml --teacher $(TEACHER) --data_dir $(DATA) --output_dir runs/starter --resume_from_checkpoint true
	cp runs/starter/config.json runs/starter/tokenizer*.json runs/starter/special_tokens_map.json runs/starter/model.safetensors $(STARTER)
	$(BIN)/sentiment-hf run --config recipes/starter/reviews.yaml --data_dir $(DATA) --output_dir runs/starter-reviews --resume_from_checkpoint true
	mkdir -p $(STARTER)/reviews/onnx
	cp runs/starter-reviews/config.json runs/starter-reviews/tokenizer*.json runs/starter-reviews/special_tokens_map.json $(STARTER)/reviews
	cp runs/starter-reviews/onnx/model_quint8_avx2.onnx $(STARTER)/reviews/onnx

test: $(INSTALLED) ## all tests
	$(TESTING) $(BIN)/python -m pytest -n auto

$(VENV5)/.installed: setup.cfg pyproject.toml constraints-transformers5.txt
	$(PYTHON) -m venv $(VENV5)
	$(VENV5)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-transformers5.txt -e '.[peft,plots,explain,search,clean,enrich,serve,quickstart,dev]'
	@touch $@

test-transformers5: $(VENV5)/.installed ## the core's tests on transformers 5, in an environment of their own
	$(TESTING) $(VENV5)/bin/python -m pytest -n auto tests/data tests/modeling tests/training tests/distillation tests/evaluation tests/serving tests/compression tests/publishing tests/enrich tests/test_aspects.py

lint: $(INSTALLED) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## let ruff rewrite the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment, runs and caches
	rm -rf $(VENV) $(VENV5) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
