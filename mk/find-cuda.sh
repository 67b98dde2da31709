#!/usr/bin/env bash
# find-cuda.sh ARCH - which CUDA compiler there is: "NVCC VERSION", or "- REASON" where none can be used.
#
# Looked for in $CUDA_HOME/bin, PATH and /usr/local/cuda/bin. It has to compile a kernel for sm_ARCH: an nvcc without a
# host compiler that it accepts shows here, and not in the middle of a build. The answer is kept until nvcc changes.
set -u
cd "$(dirname "$0")/.." || exit 1

nvcc=
if [ -n "${CUDA_HOME:-}" ]; then
    nvcc=$CUDA_HOME/bin/nvcc
    [ -x "$nvcc" ] || { echo "- CUDA_HOME=$CUDA_HOME has no bin/nvcc"; exit; }
else
    nvcc=$(command -v nvcc) || nvcc=/usr/local/cuda/bin/nvcc
    [ -x "$nvcc" ] || { echo "- nvcc is not in PATH, nor in /usr/local/cuda/bin"; exit; }
fi

known=build/cuda-found-$(printf '%s' "$nvcc $(stat -Lc '%Y %s' "$nvcc") $1 $(command -v g++)" | cksum | cut -d' ' -f1)
if [ ! -s "$known" ]; then
    probe=$(mktemp -d "${TMPDIR:-/tmp}/weft-cuda.XXXXXX") || { echo "- cannot write to ${TMPDIR:-/tmp}"; exit; }
    trap 'rm -rf "$probe"' EXIT
    mkdir -p build
    echo '__global__ void probe(int *p) { *p = 1; }' >"$probe/probe.cu"
    if said=$("$nvcc" -std=c++17 "-arch=sm_$1" -c "$probe/probe.cu" -o "$probe/probe.o" 2>&1); then
        echo "$nvcc $("$nvcc" --version | sed -n 's/.*, V\([0-9.]*\).*/\1/p')"
    else
        echo "- $nvcc cannot compile for sm_$1: $(grep -m 1 -iE 'error|fatal|not found' <<<"$said" || head -n 1 <<<"$said")"
    fi >"$probe/answer"
    mv "$probe/answer" "$known"
fi
cat "$known"
