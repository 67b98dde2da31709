# plan --ranks: what each of so many ranks would read and write, in text and as JSON; flags that do not go together.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

recipe()
{
    printf 'merge_method: %s\nbase_model: %s/base\nparameters: {weight: 1, density: 0.4}\nmodels:\n' "$1" "$TINYLM"
    printf '  - model: %s/%s\n' "$TINYLM" python "$TINYLM" english
}
sum() # KEY: over the lines of ranks in stdout
{
    grep '"event":"plan_rank"' stdout | grep -o "\"$1\":[0-9]*" | awk -F: '{ n += $2 } END { print n + 0 }'
}
value() # EVENT KEY
{
    grep "\"event\":\"$1\"" stdout | grep -o "\"$2\":[0-9]*" | head -n 1 | tr -dc 0-9
}

recipe ties >ties.yaml
recipe pcb >pcb.yaml
run plan ties.yaml --json
once=$(value plan bytes_read) written=$(value plan bytes_written)
! grep -q plan_rank stdout || fail "ranks without --ranks"

# Shards of few tensors make many blocks: each belongs to one rank.
run plan ties.yaml --json --shard-size 100K --ranks 1
blocks=$(value plan_rank blocks)
for ranks in 1 2 3 8 64; do
    run plan ties.yaml --json --shard-size 100K --ranks $ranks
    expect_exit 0
    [[ $(grep -c '"event":"plan_rank"' stdout) -eq $ranks ]] || fail "not $ranks ranks"
    [[ $(sum bytes_written) -eq $written ]] || fail "$ranks ranks write $(sum bytes_written) bytes of $written"
    [[ $(sum bytes_read) -eq $once ]] || fail "$ranks ranks read $(sum bytes_read) bytes of $once"
    [[ $(sum blocks) -eq $blocks ]] || fail "$ranks ranks have $(sum blocks) blocks of $blocks"
    [[ $(value plan_ranks bytes_read) -eq $(sum bytes_read) ]] || fail "the sum is another"
done

# Up to eight ranks are listed, of more the extremes.
run plan ties.yaml --shard-size 100K --ranks 8 --bandwidth 1M
expect_exit 0
expect_stdout_has 'ranks       8'
expect_stdout_has 'rank 7'
expect_stdout_has 'memory       '
run plan ties.yaml --shard-size 100K --ranks 9
expect_stdout_has 'least, rank '
expect_stdout_has 'largest, rank '
! grep -q 'joined' stdout || fail "statistics of tensors are joined"
run plan pcb.yaml --shard-size 100K --ranks 2
expect_stdout_has 'from each rank, for statistics of the model'
run plan pcb.yaml --ranks 1
! grep -q 'joined' stdout || fail "one rank joins"
# With little memory each reads its share of the model again; with the memory that is named, once.
run plan pcb.yaml --shard-size 100K --ranks 3 --memory 12Mi --threads 1
expect_stdout_has 'MB each reads its share once'
words=$(sed -n 's/.*with --memory \([^ ]*\) each reads.*/\1/p' stdout)
run plan pcb.yaml --shard-size 100K --ranks 3 --memory 12Mi --threads 1 --json
[[ $(sum bytes_read) -gt $once && $(value plan_ranks memory_resident) -eq $((${words%MB} * 1000000)) ]] || fail "not $words"
run plan pcb.yaml --shard-size 100K --ranks 3 --memory "$words" --threads 1 --json
[[ $(sum bytes_read) -eq $once && $(value plan_ranks memory_resident) -eq 0 ]] || fail "with $words something is read again"
# One block: all ranks but one have nothing to do, and no time is divided by.
run plan ties.yaml --ranks 3
expect_exit 0
[[ $(grep -c ' 0.000 ' stdout) -eq 2 ]] || fail "not two ranks without work"

# The rate is half, the time is twice.
run plan ties.yaml --json --bandwidth 2K
slow=$(value plan seconds_estimated)
run plan ties.yaml --json --bandwidth 4K
fast=$(value plan seconds_estimated)
[[ $slow -ge $((2 * fast - 1)) && $slow -le $((2 * fast + 1)) ]] || fail "$slow s at half of the rate, $fast s at all of it"

# With --diffable, the same whatever the machine has.
run plan pcb.yaml --shard-size 100K --ranks 3 --diffable --memory 12Mi --threads 1
cp stdout first
run plan pcb.yaml --shard-size 100K --ranks 3 --diffable --memory 1G --threads 7 --bandwidth 1G --gpus-per-rank 2
sed -i 's/, 2 GPUs each//' stdout
expect_same_file stdout first

run plan ties.yaml --ranks 2 --gpus-per-rank 2 --threads 2 --json
expect_exit 0
[[ $(value plan_ranks device_memory) -gt 0 ]] || fail "GPUs without memory"
run plan ties.yaml --ranks 2 --gpus-per-rank 2 --device-memory 1K
expect_exit 4
expect_one_error_line
expect_stderr_has '--device-memory 1.00 kB is too little'
run plan ties.yaml --gpus-per-rank 2
expect_exit 2
expect_stderr_has '--ranks'
run plan ties.yaml --ranks 2 --gpus-per-rank 2 --backend cpu
expect_exit 2
expect_stderr_has '--backend cpu'
for bad in 0 -1 x 65537; do
    run plan ties.yaml --ranks $bad
    expect_exit 2
    expect_one_error_line
done
for bad in 0 fast 1.5G; do
    run plan ties.yaml --bandwidth $bad
    expect_exit 2
    expect_one_error_line
done

# Three processes read what was planned: rank 0 says what all have read, the others what they have.
for rank in 0 1 2; do
    WEFT_RANK=$rank WEFT_RANKS=3 WEFT_LOCAL_RANK=$rank WEFT_LOCAL_RANKS=3 \
        timeout 60 "$WEFT" merge ties.yaml merged --shard-size 100K --threads 1 --memory 32Mi --json >rank-$rank 2>err-$rank &
done
wait
run plan ties.yaml --shard-size 100K --threads 1 --memory 32Mi --ranks 3 --json
for rank in 0 1 2; do
    planned=$(sed -n "s/.*\"plan_rank\",\"rank\":$rank,.*\"bytes_read\":\([0-9]*\),.*/\1/p" stdout)
    [[ $rank == 0 ]] && planned=$(value plan_ranks bytes_read)
    got=$(sed -n 's/.*"event":"done".*"bytes_read":\([0-9]*\),.*/\1/p' rank-$rank)
    [[ -n $got && $got == "$planned" ]] || fail "rank $rank: $got bytes read, $planned planned; $(tail -n 1 err-$rank)"
done
