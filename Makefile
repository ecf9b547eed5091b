# The commands of this repository; `make help` lists them. The build itself is CMake's: CMakeLists.txt and CMakePresets.json.
.DEFAULT_GOAL := build

# The prompt and the model as they were given, on the command line or in the environment, whatever quotes, dollars or newlines
# they hold: the recipes see them only as variables of the shell.
PROMPT ?= What is the capital of France?
MODEL ?=
override PROMPT := $(value PROMPT)
override MODEL := $(value MODEL)
export PROMPT MODEL

help:  ## List these commands
	@sed -n 's/^\([a-z][a-z0-9 -]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf 'make %-24s %s\n' "$$name" "$$text"; done

run: build  ## Build all that is needed and answer a prompt: make run PROMPT="…" MODEL=path.gguf (PROMPT= chats)
	@model=$${MODEL:-$$(tools/fetch-model)} && set -- -m "$$model" $${PROMPT:+"--prompt=$$PROMPT"} && \
	{ [ -n "$$MODEL" ] || [ -z "$$PROMPT" ] || set -- "$$@" --temp=0; } && exec build/metallic run "$$@"

build: install-deps  ## Build the command build/metallic
	@tools/build release metallic_cli

test: install-deps  ## Run every test; SUITES="unit python" runs some (tools/test --help)
	@exec python3 tools/test $(SUITES)

install-deps:  ## Install the packages that are missing
	@tools/install-deps

debug asan ubsan tsan: install-deps  ## Build with assertions and symbols, or with a sanitizer, and run the unit tests
	@exec python3 tools/test $@

aarch64: install-deps  ## Cross-build for 64-bit ARM and run the unit tests of what depends on the processor under QEMU
	@exec python3 tools/test aarch64

fuzz-smoke: install-deps  ## Run every fuzzer of fuzz/ for 60 seconds
	@tools/install-deps --fuzz && tools/build fuzz && exec fuzz/run 60

format:  ## Format the C++ files
	@clang-format -i $$(git ls-files --cached --others --exclude-standard '*.h' '*.cc')

format-check:  ## Tell which C++ files are not formatted
	@clang-format --dry-run -Werror $$(git ls-files --cached --others --exclude-standard '*.h' '*.cc')

clean:  ## Remove what was built; models and .venv stay
	rm -rf build

.PHONY: help run build test install-deps debug asan ubsan tsan aarch64 fuzz-smoke format format-check clean
