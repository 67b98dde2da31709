# Threads, memory and ways of reading change no byte; shards change no tensor.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

recipe=$ROOT/configs/task-arithmetic.yaml
run merge "$recipe" reference --threads 1
expect_exit 0
reference=$(weights_of reference)
n=0
for words in '--threads 2' '--threads 7 --memory 64Mi' '--memory 32MiB' '--io buffered' '--io direct' \
    '--manifest none' '--manifest sha256' '--backend cpu' '--progress plain' '--log-level debug'; do
    n=$((n + 1))
    # shellcheck disable=SC2086
    run merge "$recipe" "out$n" $words
    expect_exit 0
    [[ $(weights_of "out$n") == "$reference" ]] || fail 'other bytes'
    run verify "out$n"
    expect_exit 0
done

run merge "$recipe" shards --shard-size 500K
expect_exit 0
[[ -s shards/model.safetensors.index.json ]] || fail 'no index'
[[ $(find shards -name 'model-0000?-of-0000?.safetensors' | wc -l) -ge 4 ]] || fail 'too few shards'
for shard in shards/*.safetensors; do
    [[ $(stat -c %s "$shard") -lt 510000 ]] || fail "$shard is too large"
done
run verify shards
expect_exit 0
run diff shards reference
expect_exit 0
expect_stderr_empty
