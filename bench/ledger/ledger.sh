#!/usr/bin/env bash
# ledger.sh write|check LEDGER FOLDER COMPILER - registers, shared memory and spills of every kernel.
#
# FOLDER holds what ptxas said of each object (*.log). `check` fails where a kernel has more than two registers or any
# spill more than in LEDGER, or is not in it, or is there no longer; fewer are no failure, and `make ledger` writes
# them down. Another COMPILER counts otherwise: exit 77.
set -eu
what=$1 ledger=$2 folder=$3 compiler=$4
export LC_ALL=C

# object kernel registers shared spilled stack
measured() {
    local log
    for log in "$folder"/*.log; do
        awk -v object="$(basename "$log" .log)" '
            /Compiling entry function/ { split($0, part, "\047"); kernel = part[2]; spilled = 0; stack = 0 }
            /bytes stack frame/ { stack = $1; spilled = $5 + $9 }
            kernel != "" && /Used [0-9]+ registers/ {
                shared = 0
                for (i = 2; i <= NF; i++) {
                    if ($i == "registers,") registers = $(i - 1)
                    if ($i ~ /^smem/) shared = $(i - 2)
                }
                print kernel, object, registers, shared, spilled, stack
                kernel = ""
            }' "$log"
    done >"$scratch/mangled"
    # Names as people write them, without parameters: "wf_fast<3, unsigned short>" becomes "fast<3,u16>".
    cut -d' ' -f1 "$scratch/mangled" | c++filt -p | sed -E 's/^void //; s/\(anonymous namespace\):://g; s/\bwf_//g
        s/unsigned short/u16/g; s/unsigned int/u32/g; s/unsigned long/u64/g; s/\(unsigned char\)//g; s/ //g' >"$scratch/names"
    cut -d' ' -f2- "$scratch/mangled" | paste -d' ' - "$scratch/names" |
        awk '{ print $1, $6, $2, $3, $4, $5 }' | sort
}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/weft-ledger.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
measured >"$scratch/now"
[ -s "$scratch/now" ] || { echo "no kernels in $folder" >&2; exit 1; }

if [ "$what" = write ]; then
    mkdir -p "$(dirname "$ledger")"
    {
        echo "# nvcc $compiler: object, kernel, registers, bytes of shared memory, bytes spilled, bytes of stack"
        column -t "$scratch/now"
    } >"$ledger"
    echo "$(wc -l <"$scratch/now") kernels in $ledger"
    exit
fi

[ -s "$ledger" ] || { echo "$ledger is missing: make ledger" >&2; exit 1; }
head -n 1 "$ledger" | grep -qF "nvcc $compiler:" || { echo "$ledger is of another compiler than $compiler"; exit 77; }
grep -v '^#' "$ledger" | awk '
    { name = $1 " " $2 }
    NR == FNR { registers[name] = $3; spilled[name] = $5; next }
    !(name in registers) { print name ": is not in the ledger (make ledger)"; next }
    { seen[name] = 1 }
    $3 > registers[name] + 2 { print name ": " $3 " registers, " registers[name] " in the ledger" }
    $5 > spilled[name] { print name ": " $5 " bytes spilled, " spilled[name] " in the ledger" }
    END { for (name in registers) if (!(name in seen)) print name ": is in the ledger alone (make ledger)" }
' - "$scratch/now" | sort >"$scratch/worse"
head -n 20 "$scratch/worse"
[ ! -s "$scratch/worse" ]
