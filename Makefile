# One command each. `make` alone lists them.
#
# PYTHON  the interpreter the virtual environment is made from (python3)
# VENV    where that environment lives (.venv)
# Q       a question for the demo
# EXAMPLES  how many examples `make model` runs (2000)
# JOBS    plugins whose suites run at once (one a core, at most 4)
# WORKERS processes that the tests are spread over (one a core, at most 4)
# ARGS    more arguments for pytest, as in: make test ARGS="-k cancel"

PYTHON   ?= python3
VENV     ?= .venv
EXAMPLES ?= 2000
VERSIONS ?= 3.11 3.12 3.13
WORKERS  ?= auto
JOBS     ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null | awk '{ print ($$1 < 4 ? $$1 : 4) }')
SPREAD   := -n $(WORKERS) --maxprocesses 4 --dist loadscope

.DEFAULT_GOAL := help
PLUGINS := $(notdir $(wildcard penguiflow-*) $(wildcard plugins/penguiflow-*))
ALONE   := $(PLUGINS:penguiflow-%=test-%)

.PHONY: help check format test test-kernel test-plugins $(ALONE) test-docs docs test-bounds system test-others test-all cov model soak bench demo watched web dist clean

# The stamps carry the interpreter's version, so that another PYTHON makes a new environment.
PYTHON_ID := $(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)
BASE      := $(VENV)/.base-$(PYTHON_ID)
DEV       := $(VENV)/.dev-$(PYTHON_ID)
RUN       := $(VENV)/bin/python
DEMO      := $(VENV)-demo

# Q is passed as it was typed: `value` keeps make from expanding a `$` in it, and the environment keeps
# the shell from reading its quotes and backticks. An empty Q is still an argument, an absent one is not.
ifneq ($(origin Q),undefined)
override Q := $(value Q)
export Q
QUESTION = -- "$$Q"
endif

# What pip says is shown only when it fails.
define install
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(1) \
		>$(VENV)/pip.log 2>&1 || { cat $(VENV)/pip.log >&2; exit 1; }
endef

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

# pyright looks for an installed package through the first Python of the PATH, and nowhere else.
check: $(DEV) ## format, lint and types
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy
	@PATH="$$(cd $(VENV)/bin && pwd):$$PATH" python -m pyright --verifytypes penguiflow --ignoreexternal

format: $(DEV) ## rewrite the files in the project's format
	@$(RUN) -m ruff check --fix-only --quiet .
	@$(RUN) -m ruff format .

test: test-kernel test-plugins ## run the test suite, and each plugin's in an environment of its own

test-kernel: $(DEV) ## only the kernel's suite
	@$(RUN) -m pytest $(SPREAD) $(ARGS)

test-plugins: $(DEV) $(if $(CI),system) ## only the plugins' suites and the site's; make test-viz, test-docs for one of them
	@$(MAKE) --no-print-directory --keep-going --jobs=$(JOBS) $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) $(ALONE) test-docs

$(ALONE): test-%: $(DEV)
	@echo "penguiflow-$*"
	@$(RUN) -m nox --envdir $(VENV)-alone --session 'alone(penguiflow-$*)' $(if $(ARGS),-- $(ARGS))

test-docs: $(DEV) # the site builds without a warning, is complete, and its links lead somewhere
	@echo "docs"
	@$(RUN) -m nox --envdir $(VENV)-alone --session docs -- $(or $(ARGS),-n 2)

docs: $(DEV) ## build the documentation's site
	@$(RUN) -m nox --envdir $(VENV)-alone --session docs

test-bounds: $(DEV) # the kernel and each plugin with the lowest and the newest of what they depend on, on every Python
	@$(RUN) -m nox --envdir $(VENV)-bounds --tags bounds $(if $(ARGS),-- $(ARGS))

# Tests that need one of these are skipped where it is missing, with a word on it; under CI they fail instead.
system: ## install the Debian packages of debian-packages.txt: real browsers and servers for the tests
	@missing=; for package in $$(sed 's/#.*//' debian-packages.txt); do \
		dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "Installing$$missing ..."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	fi

test-all: test test-others ## run it, and the kernel's on every supported Python that is installed

test-others: # the Pythons of VERSIONS beside PYTHON, each in an environment of its own
	@for version in $(VERSIONS); do \
		case '$(PYTHON_ID)' in $$version.*) continue ;; esac; \
		found=; \
		for python in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version*/bin/python; do \
			if [ "$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$$version" ]; then \
				found=$$python; break; \
			fi; \
		done; \
		if [ -z "$$found" ]; then echo "Python $$version isn't installed: skipped."; continue; fi; \
		echo "Python $$version ($$found)"; \
		$(MAKE) --no-print-directory test-kernel PYTHON="$$found" VENV=$(VENV)-$$version || exit 1; \
	done

cov: $(DEV) ## run it and report the lines and branches it missed
	@$(RUN) -m pytest $(SPREAD) --cov --cov-report=term-missing $(ARGS)

model: $(DEV) ## the model test with EXAMPLES examples, and every way of breaking the kernel that it has to notice
	@MODEL_EXAMPLES=$(EXAMPLES) $(RUN) -m pytest $(SPREAD) --dist load tests/model $(ARGS)

bench: $(DEV) ## the table of figures; PEERS=1 measures other frameworks beside it
	@$(RUN) -m benchmarks $(if $(PEERS),--peers) $(ARGS)
	@$(RUN) -m benchmarks.importing
	@for folder in penguiflow-otel plugins/penguiflow-policy plugins/penguiflow-asgi; do \
		python=$(VENV)-alone/alone-$${folder##*/}/bin/python; [ ! -x $$python ] || $$python $$folder/benchmarks || exit 1; \
	done

soak: $(DEV) ## a million traces full of misfortune, and whether the sums come out
	@$(RUN) -m benchmarks.soak $(ARGS)

demo: $(DEMO)/.demo-$(PYTHON_ID) ## ask the documentation assistant, as in: make demo Q="how does a with statement work?"
	@$(DEMO)/bin/python -m examples.docs_assistant --keep demo $(QUESTION)

# An environment of its own: what watches the demo would be found by every flow of the tests as well.
$(DEMO)/.demo-$(PYTHON_ID): pyproject.toml constraints.txt $(wildcard penguiflow-*/pyproject.toml)
	@$(MAKE) --no-print-directory VENV=$(DEMO) watched
	@touch $@

watched: $(BASE)
	@echo "Installing what draws and measures the demo ..."
	$(call install,--no-compile --editable ./penguiflow-viz --editable './penguiflow-otel[sdk]' --editable ./penguiflow-mlflow)

web: $(BASE) ## the documentation assistant as a web page
	$(call install,--editable . --editable './plugins/penguiflow-asgi[serve]')
	@$(RUN) -m examples.streaming_llm $(ARGS)

dist: $(DEV) ## build the wheel and the sdist of each distribution into dist/
	@rm -rf dist
	@for folder in . penguiflow-* plugins/penguiflow-*; do \
		$(RUN) -m build --no-isolation --outdir dist $$folder >$(VENV)/build.log 2>&1 || { cat $(VENV)/build.log >&2; exit 1; }; \
	done
	@$(RUN) -m twine check --strict dist/*

clean: ## remove what the other commands made
	@rm -rf .venv .venv-* .bench demo dist build docs/_build .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BASE): pyproject.toml constraints.txt
	@$(PYTHON) -c '' 2>/dev/null || { \
		echo "'$(PYTHON)' doesn't start: install Python 3.11 or newer, or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "PenguiFlow needs Python 3.11 or newer and '$(PYTHON)' is $(PYTHON_ID): name another, as in: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' has no venv module: install it (Debian and Ubuntu: apt install python3-venv) and try again." >&2; exit 1; }
	@echo "Setting up $(VENV) (only when something changed) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	$(call install,--editable .)
	@touch $@

$(DEV): $(BASE)
	@echo "Installing the development tools into $(VENV) ..."
	$(call install,--editable '.[dev]')
	@touch $@
