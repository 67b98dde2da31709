#!/usr/bin/env bash
# resume_model.sh - what a merge has found out about whole models survives its death: another run, with whatever memory,
# reads less and makes the same bytes. A record that is not to be trusted is not.
source tests/suite/suite.sh
source tests/suite/stages.sh
requires build/plain/weft build/asan/weft build/plain/mkckpt
plain=$PWD/build/plain/weft
faulty=$PWD/build/asan/weft

small_models "$SCRATCH/models"
stage_recipe "$SCRATCH/ties.yaml" ties-model-exact "$SCRATCH/models/"{1,2,3,4}
printf 'merge_method: pcb\nbase_model: %s\nmodels:\n  - {model: %s, name: one}\n  - {model: %s, name: two}\n' \
    "$SCRATCH/models/"{1,2,3} >"$SCRATCH/pcb.yaml"
cd "$SCRATCH" || exit 1
record=out.partial/weft.statistics
flags=(--threads 2 --progress none --shard-size 200000)

# merge_json FLAGS...: sets $read, the bytes it has read, and leaves what it says in `err`; false if it fails.
merge_json() {
    timeout 100 "$plain" merge "$recipe" out "${flags[@]}" "$@" --json >events 2>err </dev/null || return 1
    read=$(grep '"event":"done"' events | grep -o '"bytes_read":[0-9]*' | tr -dc 0-9)
}

# dies KIND N MEMORY: at the n-th call of a kind; false if there is none.
dies() {
    rm -rf out out.partial
    WEFT_FAULT=$1:$2:kill timeout 100 "$faulty" merge "$recipe" out "${flags[@]}" --memory "$3" >/dev/null 2>err </dev/null &
    wait $! 2>/dev/null
    [ $? = 137 ]
}

# goes_on NAME MOST FLAGS...: resumes, has the bytes of the reference, and reads no more than MOST.
goes_on() {
    local name=$1 most=$2
    shift 2
    if ! merge_json --resume "$@"; then
        fail "$name" "$(head -c 300 err)"
    elif [ "$(digest out)" != "$reference" ]; then
        fail "$name" "other bytes"
    elif [ "$read" -gt "$most" ]; then
        fail "$name" "read $read bytes, more than $most"
    elif [ -e out.partial ] || ls out/weft.statistics* >/dev/null 2>&1; then
        fail "$name" "something is left: $(ls out out.partial 2>&1 | tr '\n' ' ')"
    else
        pass
    fi
}

for recipe in ties.yaml pcb.yaml; do
    rm -rf out
    merge_json --memory 64Mi || fail "$recipe" "$(cat err)"
    once=$read reference=$(digest out)
    rm -rf out
    merge_json --memory 2M || fail "$recipe" "$(cat err)"
    whole=$read
    [ "$whole" -gt $((once * 2)) ] || fail "$recipe" "reads $whole bytes with little memory, $once with much"

    # From one write to the next, what is left to read never grows, and in the end everything is known.
    some=0 all=0 least=$whole
    for ((n = 1; n < 100; n += 1)); do
        dies write $n 2M || break
        cp "$record" kept 2>/dev/null || { [ $((n % 4)) = 0 ] && goes_on "$recipe, write $n" "$whole" --memory 2M; continue; }
        goes_on "$recipe, write $n" "$least" --memory 2M
        least=$read
        if grep -q 'resuming: some statistics' err; then
            some=$((some + 1))
        elif grep -q 'resuming: all statistics' err; then
            all=$((all + 1))
            cp kept all-$recipe
            [ "$read" -le "$once" ] || fail "$recipe, write $n" "read $read bytes where all was known"
        else
            fail "$recipe, write $n" "takes no notice of the record: $(cat err)"
        fi
        [ $all -lt 4 ] || break
        # The other way round: what little memory has found serves where everything is held, and in one thread.
        dies write $n 2M
        goes_on "$recipe, write $n, then held" "$once" --memory 64Mi --threads 1
        [ $all = 0 ] || grep -q 'resuming: all' err || fail "$recipe, write $n, then held" "$(cat err)"
    done
    [ $some -gt 0 ] && [ $all -gt 0 ] || fail "$recipe" "$some deaths with a part of the statistics, $all with all"

    # Found while everything was held, used where nothing is.
    for ((n = 1; n < 100; n += 1)); do
        dies write $n 64Mi || break
        grep -qs . "$record" || continue
        goes_on "$recipe, write $n of a held model" "$whole" --memory 2M --threads 3
        ! grep -q 'resuming: all' err || break
    done
    grep -q 'resuming: all' err || fail "$recipe, held" "no death left all statistics behind"

    for kind in sync rename open; do
        for ((n = 1; n < 60; n += 1 + n / 5)); do
            dies $kind $n 2M || break
            goes_on "$recipe, $kind $n" "$whole" --memory 2M
        done
    done

    # Finished blocks are not read for statistics that are known, held or not: here one block is left to make.
    for memory in 2M 64Mi; do
        for ((n = 1; n < 60; n += 1)); do
            dies rename $n 2M || break
            grep -cq '^block ' out.partial/weft.journal || continue
            cp all-$recipe $record
            sed -i '$d' out.partial/weft.journal
            goes_on "$recipe, one block is missing ($memory)" $((once * 3 / 4)) --memory $memory
            break
        done
    done
done

# Task deltas have a record of their own: the merge itself is over by then.
recipe=deltas.yaml
{
    printf 'merge_method: task_arithmetic\nbase_model: %s\nparameters: {weight: 0.4}\nmodels:\n' models/1
    printf '  - {model: %s, name: %s}\n' models/2 one models/3 two
    echo 'task_deltas: {density: 0.2, scope: model}'
} >$recipe
rm -rf out
merge_json --memory 2M || fail "$recipe" "$(cat err)"
there='' whole=$read reference=$(digest out) low=1 high=1000 # writes before there is all of it; writes after
for ((all = 0; all == 0 && high - low > 1;)); do
    n=$(((low + high) / 2))
    if ! dies write $n 2M; then
        high=$n
        continue
    fi
    there=$(ls out.partial)
    goes_on "$recipe, write $n" "$whole" --memory $((2 + n % 3))M
    grep -q 'all statistics of the model are in out.partial/weft.statistics-deltas' err && all=1
    low=$n
done
[ $all = 1 ] || fail "$recipe" "no death left all statistics of the deltas behind; at the last there were: $there"
[ "$read" -le $((whole / 2)) ] || fail "$recipe" "read $read of $whole bytes where all was known"

# ---- records that are not to be trusted ----

recipe=ties.yaml
rm -rf out
merge_json --memory 2M
whole=$read reference=$(digest out)
lines=$(wc -l <all-ties.yaml) bytes=$(wc -c <all-ties.yaml)
damage() { # NAME: the record anew, on standard output
    local half=$((bytes / 2))
    case $1 in
    empty) ;;
    cut-short) head -c $half all-ties.yaml ;;
    without-end) head -n $((lines - 1)) all-ties.yaml ;;
    a-line-less) sed 8d all-ties.yaml ;;
    another-bit) head -c $half all-ties.yaml && tail -c +$((half + 1)) all-ties.yaml | tr 0-8 1-9 | head -c 1 &&
        tail -c +$((half + 2)) all-ties.yaml ;;
    another-plan) cat all-pcb.yaml ;;
    another-version) sed '1s/1$/2/' all-ties.yaml ;;
    more-behind) cat all-ties.yaml && echo end ;;
    zeros) head -c "$bytes" /dev/zero ;;
    noise) head -c 100000 models/1/model*1-of*.safetensors ;;
    esac
}
for name in empty cut-short without-end a-line-less another-bit another-plan another-version more-behind zeros noise; do
    dies rename 1 2M # that of the record
    [ -e out.partial/weft.journal ] || fail "$name" "nothing to resume"
    damage $name >$record
    goes_on "$name" "$whole" --memory 2M
    grep -q "weft.statistics is of no use.*gathered anew" err || fail "$name" "nothing is said: $(cat err)"
done
dies rename 1 2M
ln -s /dev/zero $record
goes_on "a link to a device" "$whole" --memory 2M
grep -q 'gathered anew' err || fail "a link to a device" "$(cat err)"

# A record is worth keeping when the run fails for another reason than a death: here a disk that cannot be read.
low=1 high=20000 # reads before there is a record; reads that never come
while [ $((high - low)) -gt 1 ]; do
    n=$(((low + high) / 2))
    rm -rf out out.partial
    if WEFT_FAULT=read:$n timeout 100 "$faulty" merge $recipe out "${flags[@]}" --memory 2M >/dev/null 2>err </dev/null; then
        high=$n
    elif [ -e $record ]; then
        break
    else
        low=$n
    fi
done
if [ -e $record ]; then
    goes_on "after a failed read" $((whole - 1)) --memory 2M
else
    fail "after a failed read" "no record was kept: $(cat err)"
fi
finish
