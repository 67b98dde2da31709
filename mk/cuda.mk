# cuda.mk - the plugin for NVIDIA GPUs, and the same kernels run by the emulator for tests.
#
# libweft_cuda.so does not depend on how weft itself is built: its objects have a folder of their own, and every
# variant can use it. Element functions are compiled one to an object (-DWF_FUNCTION=...), so that all cores have
# something to do. The emulated kernels are part of a variant, with its compiler and its sanitizers.

CUDA      ?= auto
NCCL      ?= auto
CUDA_ARCH ?= 90
CUDA_RELEASE_ARCH := 80 90 100 120

# Element functions, as the preprocessor lists them: map@NAME, fold@NAME, key@NAME.
hash := \#
FUNCTIONS := $(filter map@% fold@% key@%,$(shell printf '%s\n' '$(hash)include "kernels/methods.h"' \
    '$(hash)define M(f, ...) map@f' '$(hash)define F(f, ...) fold@f' '$(hash)define K(f, ...) key@f' \
    'WF_MAP_LIST(M) WF_FOLD_LIST(F) WF_KEY_LIST(K)' | $(CC) -E -P -x c - 2>/dev/null))
# map@NAME becomes frame_map.NAME
FRAMES := $(foreach f,$(FUNCTIONS),frame_$(subst @,.,$(f))) frame_rank frame_table

ifeq ($(filter auto 0 1,$(CUDA)),)
$(error CUDA=$(CUDA): write auto, 0 or 1)
endif
CUDA_FOUND := $(if $(filter 0,$(CUDA)),- CUDA=0,$(shell CUDA_HOME='$(CUDA_HOME)' mk/find-cuda.sh $(firstword $(CUDA_ARCH))))
NVCC       := $(filter-out -,$(firstword $(CUDA_FOUND)))
CUDA_TEXT  := $(wordlist 2,99,$(CUDA_FOUND))
ifeq ($(CUDA)$(NVCC),1)
$(error CUDA=1: $(CUDA_TEXT))
endif

# NCCL is a header here and a library that is opened at run time. NCCL_HOME, the toolkit, the system.
ifeq ($(filter auto 0 1,$(NCCL)),)
$(error NCCL=$(NCCL): write auto, 0 or 1)
endif
NCCL_PLACES := $(addsuffix /include/nccl.h,$(NCCL_HOME) $(patsubst %/bin/,%,$(dir $(NVCC))) /usr)
NCCL_HEADER := $(if $(filter 0,$(NCCL)),,$(if $(NVCC),$(firstword $(wildcard $(NCCL_PLACES)))))
NCCL_TEXT   := $(if $(NCCL_HEADER),NCCL $(shell awk '/define NCCL_(MAJOR|MINOR|PATCH) / { v = v s $$3; s = "." } \
    END { print v }' $(NCCL_HEADER)),no NCCL)
ifeq ($(NCCL)$(if $(NVCC),y)$(NCCL_HEADER),1y)
$(error NCCL=1: there is no nccl.h in $(NCCL_PLACES))
endif

# ---- the plugin -----------------------------------------------------------------------------------------------

# Machine code for each target, and for later GPUs the last one's intermediate code. --fmad=false and the rest are
# part of the output format, as NUMERIC is.
CUDA_LAST    := $(lastword $(CUDA_ARCH))
CUDA_TARGETS := $(CUDA_ARCH:%=sm_%) + PTX
NVCCFLAGS    := -std=c++17 -O3 --fmad=false -prec-div=true -prec-sqrt=true -ftz=false \
    $(foreach a,$(CUDA_ARCH),-gencode arch=compute_$(a),code=sm_$(a)) \
    -gencode arch=compute_$(CUDA_LAST),code=compute_$(CUDA_LAST) \
    -Werror all-warnings -Xcompiler -Wall,-Wextra,-Werror,-fPIC,-fvisibility=hidden,-ffp-contract=off \
    -DWF_CUDA_TARGETS='"$(CUDA_TARGETS)"' $(CUDA_FLAGS_EXTRA)
CUDA_LINK    := -shared -cudart static -Xcompiler -static-libstdc++,-static-libgcc \
    -Xlinker -soname=libweft_cuda.so,--no-undefined,--as-needed,--exclude-libs=ALL,--version-script=kernels/plugin.map
CUDA_KEY     := cuda-$(shell printf '%s' '$(CUDA_FOUND) $(subst ','"'"',$(NVCCFLAGS) $(CUDA_LINK))' | cksum | cut -d' ' -f1)
C            := build/$(CUDA_KEY)
# What depends on NCCL has a folder of its own, so that kernels are compiled once.
CN           := $(C)/$(if $(NCCL_HEADER),nccl,no-nccl)
CUDA_OBJ     := $(FRAMES:%=$(C)/%.o) $(C)/plugin_cuda.o $(C)/linalg_cuda.o $(CN)/nccl_cuda.o

# What ptxas says (registers, shared memory, spills) stays beside each object, for the ledger.
define nvcc
@mkdir -p $(@D)
@echo "  NVCC  $<$(if $(1), ($(1)))"
$(Q)$(NVCC) $(NVCCFLAGS) $(if $(1),-DWF_FUNCTION=$(1)) -Xptxas -v -MMD -MP -MF $(@:.o=.d) -MT $@ -c -o $@ $< \
    >$(@:.o=.log) 2>&1 || { cat $(@:.o=.log) >&2; rm -f $@; exit 1; }
endef
$(C)/frame_map.%.o: kernels/frame_map.cu
	$(call nvcc,$*)
$(C)/frame_fold.%.o: kernels/frame_fold.cu
	$(call nvcc,$*)
$(C)/frame_key.%.o: kernels/frame_key.cu
	$(call nvcc,$*)
$(CN)/nccl_cuda.o: NVCCFLAGS += -DWF_WITH_NCCL=$(if $(NCCL_HEADER),1 -I$(dir $(NCCL_HEADER)),0)
$(CN)/nccl_cuda.o: kernels/nccl_cuda.cu
	$(call nvcc)
$(C)/%.o: kernels/%.cu
	$(call nvcc)

$(CN)/libweft_cuda.so: $(CUDA_OBJ) kernels/plugin.map
	@echo "  LINK  $@"
	$(Q)$(NVCC) $(NVCCFLAGS) $(CUDA_LINK) -o $@ $(CUDA_OBJ)
-include $(CUDA_OBJ:.o=.d)

# Beside each program that is to find it there. A build without CUDA removes what an earlier one left.
.PHONY: plugin plugin-0 plugin-1 plugin-compile
plugin: plugin-$(if $(NVCC),1,0)
plugin-0:
	@echo "  CUDA  none: $(CUDA_TEXT)"
	$(Q)rm -f $(B)/libweft_cuda.so build/libweft_cuda.so
plugin-1:
	@echo "  CUDA  nvcc $(CUDA_TEXT) in $(dir $(NVCC)), $(CUDA_TARGETS), $(NCCL_TEXT)"
	$(Q)$(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc)) plugin-compile
	@mkdir -p $(B)
	$(Q)ln -sf ../$(CN:build/%=%)/libweft_cuda.so $(B)/libweft_cuda.so
	$(Q)ln -sf $(CN:build/%=%)/libweft_cuda.so build/libweft_cuda.so
plugin-compile: $(CN)/libweft_cuda.so

cuda-release: ## the plugin for all GPUs since 2020 (sm_80 90 100 120, and PTX for later ones)
	@$(MAKE) --no-print-directory build CUDA=1 CUDA_ARCH="$(CUDA_RELEASE_ARCH)"

# Registers, shared memory and spills of each kernel, kept under version control (tests/suite/cuda_build.sh).
LEDGER := bench/ledger/cuda-sm_$(CUDA_ARCH).txt
ledger: plugin-1 ## write bench/ledger anew from this build
	@bench/ledger/ledger.sh write $(LEDGER) $(C) "$(CUDA_TEXT)"
ledger-check:
	@bench/ledger/ledger.sh check $(LEDGER) $(C) "$(CUDA_TEXT)"

# ---- the emulator -----------------------------------------------------------------------------------------------

# The thread sanitizer sees nothing of fibers: that variant has an operating system's thread for each of the GPU's.
ifneq ($(filter default undefined,$(origin CXX)),)
CXX := $(if $(findstring clang,$(CC)),clang++,g++)
endif
EMU_FLAGS_address := -DWF_KERNEL_UNROLLED=2
EMU_FLAGS_thread  := -DWF_KERNEL_UNROLLED=2 -DWF_KERNEL_BLOCK=64 -DEMU_THREADS
EMU_OPT  := $(if $(filter -O3,$(OPT)),-O2,$(OPT))
CXXFLAGS := -std=c++17 $(EMU_FLAGS_$(SAN)) -D_GNU_SOURCE $(EMU_OPT) -g1 -pthread -fPIC -fvisibility=hidden \
            -fno-strict-aliasing $(NUMERIC) -Wall -Wextra $(if $(findstring clang,$(CXX)),-Wshadow,-Wshadow=local) \
            -Wno-unknown-pragmas -Werror $(SANFLAGS_$(SAN)) -Itests/emu $(CFLAGS_EXTRA)
EMU_OBJ  := $(FRAMES:%=$(B)/emu/%.o)
# The fake plugin, and stand-ins for the libraries that linalg_cuda.cu calls.
FAKE_OBJ := $(patsubst %,$(B)/emu/%.o,fake_plugin fake_cuda fake_linalg linalg_cuda)

define emulate
@mkdir -p $(@D)
@echo "  EMU   $<$(if $(1), ($(1)))"
$(Q)$(CXX) $(CXXFLAGS) $(if $(1),-DWF_FUNCTION=$(1)) -MMD -MP -x c++ -c -o $@ $<
endef
$(B)/emu/frame_map.%.o: kernels/frame_map.cu
	$(call emulate,$*)
$(B)/emu/frame_fold.%.o: kernels/frame_fold.cu
	$(call emulate,$*)
$(B)/emu/frame_key.%.o: kernels/frame_key.cu
	$(call emulate,$*)
$(B)/emu/%.o: kernels/%.cu
	$(call emulate)
$(B)/emu/%.o: tests/emu/%.cpp
	$(call emulate)
$(B)/emu/%.o: tests/device/%.cpp
	$(call emulate)

$(B)/emu/test_kernels: $(B)/emu/test_kernels.o $(EMU_OBJ) $(LIB)
	@echo "  LINK  $@"
	$(Q)$(CXX) $(CXXFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)
$(B)/emu/fake_linalg.o: tests/device/fake_linalg.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<
$(B)/emu/linalg_cuda.o: CXXFLAGS += -Itests/emu/cuda
$(B)/libweft_fake.so: $(FAKE_OBJ) $(EMU_OBJ) $(LIB)
	@echo "  LINK  $@"
	$(Q)$(CXX) $(CXXFLAGS) $(LDFLAGS) -Wl,--exclude-libs,ALL -shared -o $@ $^ $(LDLIBS)
-include $(EMU_OBJ:.o=.d) $(B)/emu/test_kernels.d $(FAKE_OBJ:.o=.d)

# Tests of the host side of devices, against whatever plugin WEFT_CUDA_PLUGIN names.
DEVICE_TESTS := $(patsubst tests/device/%.c,$(B)/device/%,$(wildcard tests/device/test_*.c))
$(B)/device/%: tests/device/%.c $(LIB)
	@mkdir -p $(@D)
	@echo "  TEST  $<"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(LIB) -lcmocka $(LDLIBS)
-include $(DEVICE_TESTS:%=%.d)
DEVICE_BENCH := $(B)/bench_method $(B)/bench_svd
$(DEVICE_BENCH): $(B)/%: bench/%.c $(LIB)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(LIB) $(LDLIBS)
-include $(DEVICE_BENCH:%=%.d)

.PHONY: variant-emu variant-device cuda-release ledger ledger-check device-test device-bench
variant-emu: $(B)/emu/test_kernels
variant-device: $(B)/libweft_fake.so $(DEVICE_TESTS) $(DEVICE_BENCH)

device-test: ## on a machine with a GPU: the kernels give the CPU's bytes, and compute-sanitizer finds nothing
	@$(MAKE) --no-print-directory build variant variant-device variant-tools variant-transport VARIANT=plain CUDA=1
	@tests/device/run-gpu.sh

DEVICE_BYTES ?= 1GiB
device-bench: ## on a machine with a GPU: launches against the GPU's own copy, singular values, and whole merges in memory
	@$(MAKE) --no-print-directory build variant variant-device variant-tools VARIANT=plain CUDA=1
	@build/plain/bench_method --bytes $(DEVICE_BYTES)
	@build/plain/bench_svd
	@bench/gpu.sh
