# A limit on open files that is too low is named before anything is read; a merge that starts also ends.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

sweep() { # RECIPE FLAGS...: every limit up to the first that is enough
    local limit refused=0
    for ((limit = 24; limit < 200; limit++)); do
        status=0
        last="weft merge $* with $limit files"
        (ulimit -n "$limit" && exec "$WEFT" merge "$1" out --overwrite --progress none "${@:2}") \
            >stdout 2>stderr </dev/null || status=$?
        [[ $status != 0 ]] || break
        expect_exit 4
        expect_one_error_line
        expect_stderr_has 'raise it with ulimit -n'
        expect_absent out out.partial
        refused=$((refused + 1))
    done
    expect_exit 0
    [[ $refused -gt 0 ]] || fail 'nothing was refused'
    rm -rf out
}

{
    printf 'merge_method: pcb\nbase_model: %s\nmodels:\n' "$TINYLM/base"
    for task in a b c d e f g h i j k l; do
        printf '  - {model: %s, name: %s}\n' "$TINYLM/python" $task
    done
} >components.yaml
sweep components.yaml --emit-components --threads 2
sed 's/pcb/task_arithmetic/' components.yaml >deltas.yaml
printf 'parameters: {weight: 0.1}\ntask_deltas: {density: 0.2, dir: a/b}\n' >>deltas.yaml
sweep deltas.yaml --threads 6
