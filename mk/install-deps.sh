#!/usr/bin/env bash
# install-deps.sh - what weft needs to build and test: says what is missing and why, and installs it.
#
#   mk/install-deps.sh build    compiler and libraries, without which this fails; and OpenBLAS, without which a few
#                               commands say that they need it
#   mk/install-deps.sh test     the same, and what makes more tests run; without those, tests are skipped
#   mk/install-deps.sh cluster  the same, and Slurm and MPICH for the tests of several ranks
#
# Uses apt-get (with sudo when not root). When nothing is missing it ends at once.
set -u
want=${1:-build}
cd "$(dirname "$0")/.." || exit 1
CC=${CC:-gcc}

# Does a program that uses these headers and libraries compile and link?
links() { # HEADERS LIBRARIES
    local header text=''
    for header in $1; do text+="#include <$header>"$'\n'; done
    # shellcheck disable=SC2086
    printf '%s\nint main(void) { return 0; }\n' "#include <stddef.h>
#include <stdarg.h>
#include <stdint.h>
#include <setjmp.h>
$text" | "$CC" -x c - -o /dev/null $2 2>/dev/null
}

missing=() # packages
optional=0
explain() { # PACKAGE WHY
    missing+=("$1")
    printf '  %-24s %s\n' "$1" "$2"
}

available() { # the first of these package names that apt knows
    local name
    for name in "$@"; do
        apt-cache show "$name" >/dev/null 2>&1 && { echo "$name"; return; }
    done
}

needed() {
    command -v "$CC" >/dev/null || explain gcc "C compiler"
    command -v make >/dev/null || explain make "runs the build"
    command -v "$CC" >/dev/null && ! echo '#include <stdio.h>' | "$CC" -x c -fsyntax-only - 2>/dev/null &&
        explain libc6-dev "C library headers"
    links cjson/cJSON.h -lcjson || explain libcjson-dev "reads JSON: indexes, configs, manifests"
    links yaml.h -lyaml || explain libyaml-dev "reads recipes"
    links xxhash.h -lxxhash || explain libxxhash-dev "checksums in the manifest"
    links openssl/evp.h -lcrypto || explain libssl-dev "SHA-256 in the manifest"
    links cmocka.h -lcmocka || explain libcmocka-dev "unit tests"
}

has_openblas() {
    { ldconfig -p || /sbin/ldconfig -p; } 2>/dev/null | grep -qF libopenblas.so
}

has_numpy() {
    local python
    for python in python3 /usr/bin/python3; do
        "$python" -c 'import numpy' 2>/dev/null && return 0
    done
    return 1
}

has_slurm() {
    local program
    for program in slurmctld slurmd srun; do
        PATH=$PATH:/usr/sbin command -v $program >/dev/null || return 1
    done
}

useful() {
    has_openblas || explain libopenblas0 "singular values: compress-lora, extract-lora, byom_lora"
    [ "$want" != build ] || return
    command -v g++ >/dev/null || explain g++ "runs the GPU's kernels without a GPU; needed by nvcc"
    command -v clang >/dev/null || explain clang "second compiler: same bytes; fuzzing"
    if command -v clang >/dev/null &&
        ! echo 'int main(void){return 0;}' | clang -fsanitize=address -x c - -o /dev/null 2>/dev/null; then
        local runtime
        runtime=$(available libclang-rt-dev "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev")
        [ -n "$runtime" ] && explain "$runtime" "clang's sanitizers and fuzzer"
    fi
    has_numpy || explain python3-numpy "measures the language models that a merge made"
    command -v mpicc >/dev/null || explain libmpich-dev "joins what the ranks of a merge find: libweft_mpi.so"
    command -v mpirun >/dev/null || explain mpich "merges on several ranks, started by mpirun"
    [ "$want" = cluster ] || return
    if ! has_slurm; then
        explain slurm-wlm "merges on several ranks, in a Slurm of this machine alone"
        explain slurmctld "the same"
        explain slurmd "the same"
        explain slurm-client "the same"
        explain slurm-wlm-basic-plugins "the same"
        explain libpmix2 "the same, for srun --mpi=pmix"
    fi
}

install() { # PACKAGES
    local as_root=()
    if ! command -v apt-get >/dev/null; then
        echo "apt-get is not here: install these with your own package manager, then run this again." >&2
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "not root, and no sudo: ask an administrator for  apt-get install $*" >&2
            return 1
        fi
        as_root=(sudo)
        [ -t 0 ] || as_root=(sudo -n) # nobody there to type a password
    fi
    apt_install() {
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends "$@" </dev/null >>build/apt.log 2>&1
    }
    apt_install "$@" && return
    "${as_root[@]}" apt-get update </dev/null >>build/apt.log 2>&1
    apt_install "$@" && return
    if [ "$optional" = 1 ]; then # what is not to be had must not keep the others away
        local package lacking=0
        for package in "$@"; do
            apt_install "$package" || lacking=1
        done
        [ $lacking = 1 ] || return 0
    fi
    tail -n 3 build/apt.log >&2
    echo "apt-get could not install: $* (all of its output: build/apt.log)" >&2
    return 1
}

mkdir -p build
all_headers="cjson/cJSON.h yaml.h xxhash.h openssl/evp.h cmocka.h"
all_libraries="-lcjson -lyaml -lxxhash -lcrypto -lcmocka"
if ! command -v make >/dev/null || ! links "$all_headers" "$all_libraries"; then
    echo "missing packages, and what weft needs them for:"
    needed
    install "${missing[@]}" || exit 1
    links "$all_headers" "$all_libraries" || { echo "still cannot build against all libraries" >&2; exit 1; }
    echo "installed: ${missing[*]}"
fi

# Optional ones are tried once: the stamp keeps a machine without network from trying at every run.
[ ! -e "build/optional-tried-$want" ] || exit 0
missing=()
optional=1
listed=$(useful; printf 'x%s' "${missing[*]-}")
[ "$listed" = x ] && exit 0
echo "optional packages that are missing (what needs them says so, tests are skipped):"
useful
touch "build/optional-tried-$want"
[ ${#missing[@]} = 0 ] || install "${missing[@]}" || echo "going on without: ${missing[*]}"
exit 0
