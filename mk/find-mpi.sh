#!/usr/bin/env bash
# find-mpi.sh - which compiler of MPI programs there is: "MPICC NAME VERSION", or "- REASON" where none can be used.
#
# Taken is $MPICC, else the mpicc in PATH, which is the one that a cluster's modules and a distribution's alternatives
# mean; else mpicc.mpich or mpicc.openmpi. It has to make a shared library. The answer is kept until mpicc changes.
set -u
cd "$(dirname "$0")/.." || exit 1

mpicc=
for name in "${MPICC:-mpicc}" ${MPICC:-mpicc.mpich mpicc.openmpi}; do
    mpicc=$(command -v "$name") && break
done
[ -n "$mpicc" ] || { echo "- ${MPICC:-mpicc} is not in PATH"; exit; }

known=build/mpi-found-$(printf '%s' "$mpicc $(readlink -f "$mpicc") $(stat -Lc '%Y %s' "$mpicc")" | cksum | cut -d' ' -f1)
if [ ! -s "$known" ]; then
    probe=$(mktemp -d "${TMPDIR:-/tmp}/weft-mpi.XXXXXX") || { echo "- cannot write to ${TMPDIR:-/tmp}"; exit; }
    trap 'rm -rf "$probe"' EXIT
    mkdir -p build
    cat >"$probe/probe.c" <<'PROBE'
#include <mpi.h>
#if MPI_VERSION < 3
#error weft needs MPI 3: collectives that do not block
#endif
int probe(MPI_Request *request);
int probe(MPI_Request *request) { return MPI_Ibarrier(MPI_COMM_WORLD, request); }
PROBE
    cat >"$probe/name.c" <<'NAME'
#include <mpi.h>
#if defined(OPEN_MPI)
#define NAME(a, b, c) "Open MPI" a.b.c
name: NAME(OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION)
#elif defined(I_MPI_VERSION)
name: "Intel MPI" I_MPI_VERSION
#elif defined(MVAPICH2_VERSION)
name: "MVAPICH2" MVAPICH2_VERSION
#elif defined(MPICH_VERSION)
name: "MPICH" MPICH_VERSION
#else
name: "MPI of unknown name"
#endif
NAME
    if said=$("$mpicc" -shared -fPIC "$probe/probe.c" -o "$probe/probe.so" 2>&1); then
        name=$("$mpicc" -E -P "$probe/name.c" 2>/dev/null | sed -n 's/^name: *//p' | tr -d '"' | sed 's/ *\. */./g')
        echo "$mpicc ${name:-MPI}"
    else
        echo "- $mpicc cannot build: $(grep -m 1 -iE 'error|fatal|not found' <<<"$said" || head -n 1 <<<"$said")"
    fi >"$probe/answer"
    mv "$probe/answer" "$known"
fi
cat "$known"
