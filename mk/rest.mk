# rest.mk - everything around the program: packages, demo, tests, fuzzing, benchmarks, installation.

.PHONY: deps demo test test-long test-cluster tidy asan tsan fuzz fuzz-replay interop bench quality docs install uninstall
.PHONY: variant variant-unit variant-replay variant-tools variant-fuzz

deps: ## install the packages that are missing
	@mk/install-deps.sh test

demo: ## install what is missing, build, merge three real checkpoints, show what came out
	@mk/install-deps.sh build
	@$(MAKE) --no-print-directory build
	@mk/demo.sh

test: ## install what is missing, build, run all tests
	@mk/install-deps.sh test
	@tests/run.sh quick $(SUITES)

test-long: ## the same with longer sweeps
	@mk/install-deps.sh test
	@tests/run.sh long $(SUITES)

test-cluster: ## several ranks: mpirun, srun, jobs in a Slurm that runs for the tests alone
	@mk/install-deps.sh cluster
	@tests/cluster/run.sh quick $(SUITES)

tidy: build ## style and layer rules
	@tests/style/check.sh

# A variant is a build with its own flags that build/$(VARIANT) points at, for tests/run.sh.
TOOLS  := $(B)/mkckpt $(B)/dropcache $(B)/measure
REPLAY := $(patsubst tests/fuzz/fuzz_%.c,$(B)/replay/fuzz_%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ   := $(patsubst tests/fuzz/fuzz_%.c,$(B)/fuzz/fuzz_%,$(wildcard tests/fuzz/fuzz_*.c))
VARIANT ?= plain
variant: $(B)/weft
	$(Q)ln -sfn $(KEY) build/$(VARIANT)
variant-unit: $(UNIT)
variant-replay: $(REPLAY)
variant-tools: $(TOOLS)

asan: ## build/asan/weft: address and undefined-behaviour sanitizers, faults compiled in
	@$(MAKE) --no-print-directory variant VARIANT=asan SAN=address FAULTS=1 OPT=-O1
tsan: ## build/tsan/weft: thread sanitizer
	@$(MAKE) --no-print-directory variant VARIANT=tsan SAN=thread OPT=-O1

$(TOOLS): $(B)/%: bench/%.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $<
-include $(TOOLS:%=%.d)

FUZZ_FLAGS := -Wno-missing-prototypes # the entry point is libFuzzer's to declare
$(B)/replay/%: tests/fuzz/%.c tests/fuzz/replay.c $(LIB)
	@mkdir -p $(@D)
	@echo "  TEST  $<"
	$(Q)$(CC) $(CFLAGS) $(FUZZ_FLAGS) $(LDFLAGS) -o $@ $< tests/fuzz/replay.c $(LIB) $(LDLIBS)

variant-fuzz: $(FUZZ)
	$(Q)ln -sfn $(KEY) build/$(VARIANT)
$(B)/fuzz/%: tests/fuzz/%.c $(LIB)
	@mkdir -p $(@D)
	@echo "  FUZZ  $<"
	$(Q)$(CC) $(CFLAGS) $(FUZZ_FLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $< $(LIB) $(LDLIBS)

fuzz-replay: ## every fuzz target over its kept corpus
	@$(MAKE) --no-print-directory variant variant-replay VARIANT=asan SAN=address FAULTS=1 OPT=-O1
	@tests/suite/fuzz_replay.sh

FUZZ_SECONDS ?= 60
fuzz: ## libFuzzer with clang, FUZZ_SECONDS (60) for each target
	@tests/suite/fuzz.sh $(FUZZ_SECONDS)

interop: build $(TOOLS) ## merged folders load in Python's programs, and are what mergekit makes
	$(Q)ln -sfn $(KEY) build/plain
	@tests/interop/run.sh

bench: build $(TOOLS) ## speed and memory, with the target beside each figure
	$(Q)ln -sfn $(KEY) build/plain
	@bench/run.sh

quality: build ## how good merges are, in bits per byte; writes bench/quality/tinylm.txt and the documents
	@bench/quality/run.sh build/weft >build/tinylm.txt && mv build/tinylm.txt bench/quality/tinylm.txt
	@$(MAKE) --no-print-directory docs

docs: build ## write the generated documents anew
	@mk/methods-doc.sh build/weft >build/METHODS.md && mv build/METHODS.md docs/METHODS.md
	@build/weft gen man >build/weft.1 && mv build/weft.1 docs/weft.1

# What is copied comes from the build and from the program itself, which generates its own manual.
DEST := $(DESTDIR)$(PREFIX)
install: build ## program, plugins, library, header, man page and completion, below PREFIX (/usr/local)
	install -D -m 755 $(B)/weft $(DEST)/bin/weft
	ln -sf weft $(DEST)/bin/weft-yaml
	install -D -m 644 $(LIB) $(DEST)/lib/libweft.a
	$(if $(NVCC),install -D -m 755 $(CN)/libweft_cuda.so $(DEST)/lib/libweft_cuda.so)
	$(if $(MPI_CC),install -D -m 755 $(MPI_SO) $(DEST)/lib/libweft_mpi.so)
	install -D -m 644 include/weft.h $(DEST)/include/weft.h
	mkdir -p $(DEST)/share/man/man1 $(DEST)/share/bash-completion/completions $(DEST)/share/zsh/site-functions
	$(B)/weft gen man >$(DEST)/share/man/man1/weft.1
	ln -sf weft.1 $(DEST)/share/man/man1/weft-yaml.1
	$(B)/weft gen bash >$(DEST)/share/bash-completion/completions/weft
	ln -sf weft $(DEST)/share/bash-completion/completions/weft-yaml
	$(B)/weft gen zsh >$(DEST)/share/zsh/site-functions/_weft

uninstall: ## remove what install copied
	rm -f $(DEST)/bin/weft $(DEST)/bin/weft-yaml $(DEST)/lib/libweft.a $(DEST)/lib/libweft_cuda.so \
	    $(DEST)/lib/libweft_mpi.so $(DEST)/include/weft.h \
	    $(DEST)/share/man/man1/weft.1 $(DEST)/share/man/man1/weft-yaml.1 $(DEST)/share/zsh/site-functions/_weft \
	    $(DEST)/share/bash-completion/completions/weft $(DEST)/share/bash-completion/completions/weft-yaml
