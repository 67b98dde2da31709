#!/usr/bin/env bash
# run.sh - how good are merges? Bits per byte of held-out text, for the small language models of tests/data/tinylm.
#
# Usage: bench/quality/run.sh [WEFT]   (make quality)
#
# Prints a Markdown table: base and experts, methods that make one model, and methods that keep something for each
# task, of which each task's own result is measured on its own text. Needs python3 with numpy. The parameters are
# the published or default ones, not searched for on these models; where one had to be chosen (the weight of the
# sums), every method has the same.
set -u
cd "$(dirname "$0")/../.." || exit 1
weft=$PWD/${1:-build/weft}
models=$PWD/tests/data/tinylm
work=$(mktemp -d "${TMPDIR:-/tmp}/weft-quality.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
tasks='c english python'

python=''
for candidate in python3 /usr/bin/python3; do
    "$candidate" -c 'import numpy' 2>/dev/null && { python=$candidate; break; }
done
[ -n "$python" ] || { echo "run.sh: needs python3 with numpy" >&2; exit 1; }

quiet() { # COMMAND...: its messages only if it fails
    "$@" >"$work/log" 2>&1 </dev/null || { cat "$work/log" >&2; exit 1; }
}
scores() { "$python" "$models/eval.py" "$@" --json; }
of() { sed "s/.*\"$1\": \([0-9.]*\).*/\1/"; } # KEY: out of such a line

# row NAME FOLDER: one model for all tasks.
row() {
    local all
    all=$(scores "$2") || exit 1
    printf '| %s | %.4f | %.4f | %.4f | %.4f |\n' "$1" "$(of c <<<"$all")" "$(of english <<<"$all")" "$(of python <<<"$all")" \
        "$(of mean <<<"$all")"
}
# row_each NAME COMMAND: a model for each task, on that task's text; COMMAND TASK prints eval.py's arguments.
row_each() {
    local name=$1 task list=() value arguments
    shift
    for task in $tasks; do
        arguments=$("$@" "$task") || exit 1
        # shellcheck disable=SC2086
        value=$(scores $arguments | of "$task") || exit 1
        list+=("$value")
    done
    printf '| %s | %.4f | %.4f | %.4f | %.4f |\n' "$name" "${list[@]}" \
        "$(awk -v a="${list[0]}" -v b="${list[1]}" -v c="${list[2]}" 'BEGIN { printf "%.4f", (a + b + c) / 3 }')"
}
# merge NAME METHOD PARAMETERS WEIGHT [KEYS]: WEIGHT for each model.
merge() {
    {
        printf 'merge_method: %s\nbase_model: %s/base\nparameters: {%s}\nmodels:\n' "$2" "$models" "$3"
        for task in $tasks; do
            printf -- '  - {model: %s/%s, parameters: {weight: %s}}\n' "$models" "$task" "$4"
        done
        printf '%s\n' "${5:-}"
    } >"$work/$1.yaml"
    quiet "$weft" merge "$work/$1.yaml" "$work/$1" --progress none
}

one_model() {
    local variant
    row base "$models/base"
    for task in $tasks; do row "expert $task" "$models/$task"; done
    merge ta task_arithmetic '' 0.4
    row "task_arithmetic, weight 0.4" "$work/ta"
    merge ties ties 'density: 0.2, normalize: true, scope: model' 1
    row "ties, density 0.2, scope model" "$work/ties"
    merge breadcrumbs breadcrumbs 'low: 0.85, high: 0.993' 0.4
    row "breadcrumbs, low 0.85, high 0.993" "$work/breadcrumbs"
    for variant in paper code code-vision code-vision-es code-nlp; do
        merge "pcb-$variant" pcb "variant: $variant, density: 0.2" 1
        row "pcb $variant, density 0.2" "$work/pcb-$variant"
    done
}

applied() { # DENSITY TASK
    quiet "$weft" apply "$work/shared-$1" "$work/shared-$1/deltas/$2.safetensors" "$work/apply-$1-$2"
    echo "$work/apply-$1-$2"
}
byom_fft() {
    local density
    for density in 0.01 0.05 0.1; do
        merge "shared-$density" task_arithmetic '' 0.4 "task_deltas: {density: $density}"
        row_each "task_deltas over task_arithmetic, density $density" applied "$density"
    done
}

adapter() { echo "$models/base --adapter $models/$1-lora"; }
compressed() { # RANK TASK
    echo "$models/base --adapter $work/lora-$1/$2"
}
byom_lora() {
    local rank
    row_each "adapters as trained, rank 8" adapter
    for rank in 8 4 2 1; do
        {
            printf 'merge_method: byom_lora\nparameters: {rank: %s}\nmodels:\n' "$rank"
            for task in $tasks; do printf -- '  - {model: %s/%s-lora, name: %s}\n' "$models" "$task" "$task"; done
        } >"$work/lora-$rank.yaml"
        quiet "$weft" merge "$work/lora-$rank.yaml" "$work/lora-$rank"
        row_each "byom_lora, rank $rank" compressed "$rank"
    done
}

echo '| | c | english | python | mean |'
echo '|---|---|---|---|---|'
one_model
echo '| **one for each task, on its own text** | | | | |'
byom_fft
byom_lora
