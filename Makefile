# The commands of the README. `make demo` and `make test` do all the set-up that they need.
SHELL := /bin/bash
ENVS ?= .envs
export BRAGGWORKS_ENVS := $(ENVS)
STAGES := workflow particles relax scatter learn figures
PYTHON := $(ENVS)/develop/bin
CORES ?= 2

.PHONY: demo demo-containers containers test bench envs pynx lint lock schema clean help

help:
	@echo "make demo    run the whole chain in miniature; ends with the path of the report"
	@echo "make test    run the tests"
	@echo "make bench   measure speed and exactness, into benchmarks/results (an hour)"
	@echo "make containers       build one Apptainer image per stage, into .images"
	@echo "make demo-containers  run the demo, every stage inside its image"
	@echo "make envs    make one environment per stage (part of demo and test)"
	@echo "make lint    check style, types and the workflow"
	@echo "make lock    write the pins of all environments anew"
	@echo "make pynx    install PyNX from source (part of envs; runs without it where that fails)"
	@echo "make schema  write config/schema.json, by which editors check configurations"
	@echo "make clean   remove results/, every run's"

demo: envs
	@$(ENVS)/workflow/bin/braggworks run config/demo.yaml --cores $(CORES)

test: $(ENVS)/develop/.ready envs
	@status=0; \
	OMP_NUM_THREADS=1 $(PYTHON)/python -m pytest -n $(CORES) --dist loadfile -m "not alone" || status=1; \
	$(PYTHON)/python -m pytest -m alone || status=1; \
	exit $$status

bench: $(ENVS)/develop/.ready envs
	@$(PYTHON)/python -m benchmarks

containers: $(ENVS)/workflow/.ready
	@containers/install_apptainer.sh
	@$(ENVS)/workflow/bin/python containers/build.py

demo-containers: containers
	@$(ENVS)/workflow/bin/braggworks run config/demo-containers.yaml --profile workflow/profiles/apptainer --cores $(CORES)

envs: $(STAGES:%=$(ENVS)/%/.ready) pynx

pynx: | $(ENVS)/workflow/.ready
	@test -x $(ENVS)/pynx/bin/braggworks || envs/install_pynx.sh

$(ENVS)/%/.ready: envs/%.txt
	@envs/install.sh $*

lint: $(ENVS)/develop/.ready
	$(PYTHON)/ruff check
	$(PYTHON)/ruff format --check
	$(PYTHON)/mypy
	$(PYTHON)/snakefmt --check Snakefile workflow
	PATH="$(abspath $(PYTHON)):$$PATH" $(PYTHON)/snakemake --lint

schema: $(ENVS)/workflow/.ready
	$(ENVS)/workflow/bin/braggworks schema --output config/schema.json

lock:
	envs/lock.sh

clean:
	rm -rf results .snakemake
