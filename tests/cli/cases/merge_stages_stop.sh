# A signal in the middle of a stage exits 75 and keeps the stages; --resume gives the uninterrupted bytes.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

make_model a 40000000
make_model b 40000000
{
    printf 'name: first\nmerge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}]\n---\n'
    printf 'name: second\nmerge_method: linear\nparameters: {weight: 1}\nmodels: [{model: first}, {model: b}]\n---\n'
    printf 'name: third\nmerge_method: passthrough\nmodels: [{model: second}]\n---\n'
    printf 'merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: first}, {model: second}, {model: third}]\n'
} >recipe.yaml

stopped=
for delay in 0.05 0.02 0.1 0.01 0.2 0.005; do
    last="weft merge, TERM after $delay s"
    rm -rf out out.partial out.stages
    "$WEFT" merge recipe.yaml out --memory 64Mi --threads 1 >stdout 2>stderr </dev/null &
    merge=$!
    for ((i = 0; i < 2000; i++)); do
        [[ -e out.stages/second.partial ]] && break
        sleep 0.002
    done
    sleep $delay
    # A second run finds the stages in use.
    "$WEFT" merge recipe.yaml out --resume >/dev/null 2>second_run </dev/null
    second_run=$?
    kill -TERM $merge 2>/dev/null
    wait $merge
    status=$?
    [[ $status -eq 75 ]] || continue # it was faster than the signal
    stopped=yes
    [[ $second_run -eq 4 ]] || fail "a second run exits with $second_run: $(cat second_run)"
    expect_stderr_has --resume
    expect_absent out
    [[ -f out.stages/first/model.safetensors ]] || fail 'no finished stage is left'
    run merge recipe.yaml out --resume --memory 64Mi
    expect_exit 0
    expect_stderr_has "stage 1 of 4: 'first', which is finished already"
    expect_absent out.stages out.partial
    break
done
[[ $stopped ]] || fail 'the signal never came in time'
run merge recipe.yaml reference --memory 64Mi
[[ $(weights_of out) == $(weights_of reference) ]] || fail 'other bytes after --resume'

# The same where a stage is computed on the way: what is kept is the result's, in OUT.partial alone.
{
    printf 'name: first\nmerge_method: linear\nparameters: {weight: 1}\nmodels: [{model: a}, {model: b}]\n---\n'
    printf 'merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: first}, {model: b}]\n'
} >fused.yaml
run merge fused.yaml reference --memory 64Mi --overwrite
stopped=
for delay in 0.05 0.02 0.1 0.01 0.2 0.005; do
    last="weft merge, TERM after $delay s"
    rm -rf out out.partial
    "$WEFT" merge fused.yaml out --memory 16Mi --threads 1 >stdout 2>stderr </dev/null &
    merge=$!
    for ((i = 0; i < 2000; i++)); do
        [[ -s out.partial/weft.journal ]] && break
        sleep 0.002
    done
    sleep $delay
    kill -TERM $merge 2>/dev/null
    wait $merge
    status=$?
    [[ $status -eq 75 ]] || continue
    stopped=yes
    expect_absent out out.stages
    run merge fused.yaml out --resume --memory 64Mi
    expect_exit 0
    [[ $(weights_of out) == $(weights_of reference) ]] || fail 'other bytes after --resume of a stage on the way'
    break
done
[[ $stopped ]] || fail 'the signal never came in time'
