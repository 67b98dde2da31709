# mpi.mk - the plugin for MPI, and the test that runs it with several processes.
#
# libweft_mpi.so does not depend on how weft itself is built; like the plugin for GPUs it has a folder of its own, and
# every variant can use it. It is compiled by the mpicc of the MPI that will run it.

MPI ?= auto
ifeq ($(filter auto 0 1,$(MPI)),)
$(error MPI=$(MPI): write auto, 0 or 1)
endif
MPI_FOUND := $(if $(filter 0,$(MPI)),- MPI=0,$(shell MPICC='$(MPICC)' mk/find-mpi.sh))
MPI_CC    := $(filter-out -,$(firstword $(MPI_FOUND)))
MPI_TEXT  := $(wordlist 2,99,$(MPI_FOUND))
ifeq ($(MPI)$(MPI_CC),1)
$(error MPI=1: $(MPI_TEXT))
endif

# What mpi.h of somebody's MPI makes a compiler say is no reason to stop.
MPI_CFLAGS := $(CSTD) -O2 -g -fPIC -fvisibility=hidden $(filter-out -Werror,$(WARN))
MPI_LINK   := -shared -Wl,-soname,libweft_mpi.so -Wl,--no-undefined
MPI_KEY    := mpi-$(shell printf '%s' '$(MPI_FOUND) $(MPI_CFLAGS) $(MPI_LINK)' | cksum | cut -d' ' -f1)
MPI_SO     := build/$(MPI_KEY)/libweft_mpi.so

$(MPI_SO): src/dist/mpi_plugin.c src/dist/mpi_plugin.h src/dist/transport.h
	@mkdir -p $(@D)
	@echo "  MPICC $<"
	$(Q)$(MPI_CC) $(MPI_CFLAGS) $(MPI_LINK) -o $@ $<

# Beside each program that is to find it there. A build without MPI removes what an earlier one left.
.PHONY: mpi-plugin mpi-plugin-0 mpi-plugin-1
mpi-plugin: mpi-plugin-$(if $(MPI_CC),1,0)
mpi-plugin-0:
	@echo "  MPI   none: $(MPI_TEXT)"
	$(Q)rm -f $(B)/libweft_mpi.so build/libweft_mpi.so
mpi-plugin-1: $(MPI_SO)
	@echo "  MPI   $(MPI_TEXT), $(MPI_CC)"
	@mkdir -p $(B)
	$(Q)ln -sf ../$(MPI_KEY)/libweft_mpi.so $(B)/libweft_mpi.so
	$(Q)ln -sf $(MPI_KEY)/libweft_mpi.so build/libweft_mpi.so

# A program for mpirun: sums and gatherings between ranks, and what happens when one of them fails.
.PHONY: variant-transport
variant-transport: $(B)/test_transport mpi-plugin
$(B)/test_transport: tests/cluster/test_transport.c $(LIB)
	@mkdir -p $(@D)
	@echo "  TEST  $<"
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(LIB) $(LDLIBS)
-include $(B)/test_transport.d
