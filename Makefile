# weft - one Makefile, not recursive. `make help` lists the targets.
#
# Objects live under build/<hash of compiler and flags>/, so variants never mix; build/weft is a link to
# the last plain build, build/weft-yaml another. Variables: CC, CFLAGS_EXTRA, SAN=address|thread|none, FAULTS=1, V=1,
# PREFIX, CUDA=auto|0|1, MPI=auto|0|1.

.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash

CC       ?= gcc
ifeq ($(origin CC),default)
CC       := gcc
endif
PREFIX   ?= /usr/local
DESTDIR  ?=
OPT      ?= -O3
SAN      ?= none
FAULTS   ?= 0
Q        := $(if $(V),,@)

# These flags are part of the output format: no contraction, no fast math (docs/NUMERICS.md).
NUMERIC  := -ffp-contract=off -fno-trapping-math -fno-math-errno -fno-fast-math
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror
CSTD     := -std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
SANFLAGS_none    :=
SANFLAGS_address := -DWF_UNROLLED=4 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SANFLAGS_thread  := -DWF_UNROLLED=4 -fsanitize=thread
SANFLAGS_fuzzer  := -DWF_UNROLLED=2 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
CFLAGS   := $(CSTD) $(OPT) -g -pthread -fPIC $(NUMERIC) $(WARN) $(SANFLAGS_$(SAN)) \
            $(if $(filter 1,$(FAULTS)),-DWF_FAULTS) $(CFLAGS_EXTRA)
LDLIBS   := -lcjson -lyaml -lxxhash -lcrypto -ldl -lm -lpthread

ARCH     := $(shell $(CC) -dumpmachine 2>/dev/null | cut -d- -f1)
KEY      := $(shell printf '%s' '$(CC) $(shell $(CC) -dumpversion 2>/dev/null) $(CFLAGS)' | cksum | cut -d' ' -f1)
B        := build/$(KEY)

LIB_SRC  := $(filter-out src/main.c src/cli.c $(wildcard src/cmd_*.c) src/backend/frame_cpu.c \
              src/dist/mpi_plugin.c,$(wildcard src/*.c src/*/*.c))
CLI_SRC  := src/main.c src/cli.c $(wildcard src/cmd_*.c)
# The CPU frame is compiled once per instruction set; the widest that the machine has is chosen at start.
ISAS     := base $(if $(filter x86_64,$(ARCH)),v3 v4)
ISA_DEFINE := $(if $(filter x86_64,$(ARCH)),-DWF_HAVE_X86_ISAS)
ISA_FLAGS_base :=
ISA_FLAGS_v3   := -march=x86-64-v3
ISA_FLAGS_v4   := -march=x86-64-v4 -mprefer-vector-width=512
LIB_OBJ  := $(LIB_SRC:%.c=$(B)/%.o) $(ISAS:%=$(B)/src/backend/frame_cpu_%.o)
CLI_OBJ  := $(CLI_SRC:%.c=$(B)/%.o)
LIB      := $(B)/libweft.a

.PHONY: build
build: build/weft plugin mpi-plugin ## build build/weft, and the plugins for GPUs and MPI where these are (installs nothing)

# Always linked anew: make follows the link, and another variant's program may be the newer one.
build/weft: $(B)/weft FORCE
	$(Q)ln -sf $(KEY)/weft $@ && ln -sf $(KEY)/weft build/weft-yaml
.PHONY: FORCE
FORCE:

$(B)/weft: $(CLI_OBJ) $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(CLI_OBJ) $(LIB) $(LDLIBS)

$(LIB): $(LIB_OBJ)
	@echo "  AR    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

# -g1: hundreds of loops, twice the time to compile if their variables are described too.
$(B)/src/backend/frame_cpu_%.o: src/backend/frame_cpu.c
	@mkdir -p $(@D)
	@echo "  CC    $< ($*)"
	$(Q)$(CC) $(CFLAGS) $(ISA_FLAGS_$*) $(ISA_DEFINE) -DWF_ISA=$* -g1 -MMD -MP -c -o $@ $<

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS) $(ISA_DEFINE) -MMD -MP -c -o $@ $<

-include $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d)

# Unit tests and tools: one source file, one program.
UNIT     := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c)) \
            $(patsubst tests/method/%.c,$(B)/unit/%,$(wildcard tests/method/test_*.c))
.PHONY: unit
unit: $(UNIT)
$(B)/unit/%: tests/unit/%.c $(LIB)
	@mkdir -p $(@D)
	@echo "  TEST  $<"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(LIB) -lcmocka $(LDLIBS)
$(B)/unit/%: tests/method/%.c $(LIB)
	@mkdir -p $(@D)
	@echo "  TEST  $<"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(LIB) -lcmocka $(LDLIBS)
-include $(UNIT:%=%.d)

.PHONY: clean help
clean: ## remove build/
	rm -rf build
help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort | column -t -s "$$(printf '\t')"

include mk/cuda.mk
include mk/mpi.mk
include mk/rest.mk
