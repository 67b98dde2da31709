# INT, TERM and USR1 save the work and exit 75; --resume gives the uninterrupted bytes.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

# Large enough for a signal to come in the middle: a tensor of 160 MB in each of three models,
# streamed in tiles.
for model in a b c; do
    make_model $model 40000000
done
printf 'merge_method: linear\nmodels:\n' >recipe.yaml
for model in a b c; do
    printf '  - model: %s\n    parameters:\n      weight: 1\n' $model >>recipe.yaml
done
run merge recipe.yaml reference --memory 64Mi
expect_exit 0

for signal in INT TERM USR1; do
    stopped=
    for delay in 0.05 0.02 0.1 0.01 0.2 0.005; do
        last="weft merge, $signal after $delay s"
        rm -rf out out.partial
        "$WEFT" merge recipe.yaml out --memory 64Mi --threads 1 >stdout 2>stderr </dev/null &
        merge=$!
        # Handlers are set before OUT.partial appears.
        for ((i = 0; i < 500; i++)); do
            [[ -e out.partial ]] && break
            sleep 0.002
        done
        sleep $delay
        kill -$signal $merge 2>/dev/null
        wait $merge
        status=$?
        if [[ $status -eq 0 ]]; then
            continue # it was faster than the signal
        fi
        stopped=yes
        expect_exit 75
        expect_one_error_line
        expect_stderr_has --resume
        expect_absent out
        [[ -d out.partial ]] || fail 'no out.partial to resume from'
        run merge recipe.yaml out
        expect_usage_error out.partial
        run merge recipe.yaml out --resume --memory 64Mi
        expect_exit 0
        expect_absent out.partial
        [[ $(weights_of out) == $(weights_of reference) ]] || fail 'other bytes after --resume'
        break
    done
    [[ $stopped ]] || fail "$signal never came in time"
done
