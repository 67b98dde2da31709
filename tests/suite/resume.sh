#!/usr/bin/env bash
# resume.sh - stopped by a signal or killed at any point, a merge goes on to the bytes of an uninterrupted one.
source tests/suite/suite.sh
source tests/suite/stages.sh
requires build/plain/weft build/asan/weft build/plain/mkckpt
plain=$PWD/build/plain/weft
faulty=$PWD/build/asan/weft
mkckpt=$PWD/build/plain/mkckpt
size=$([ "$LONG" = 1 ] && echo 600MB || echo 120MB)

small=(--layers 2 --hidden 64 --vocab 200 --shard-size 60000 --config)
"$mkckpt" --out "$SCRATCH/small/base" "${small[@]}" --seed 1
"$mkckpt" --out "$SCRATCH/small/tuned" "${small[@]}" --seed 2 --base-seed 1 --delta 0.1
"$mkckpt" --out "$SCRATCH/small/other" "${small[@]}" --seed 5 --base-seed 1 --delta 0.1
"$mkckpt" --out "$SCRATCH/large/base" --bytes $size --seed 3 --config
"$mkckpt" --out "$SCRATCH/large/tuned" --bytes $size --seed 4 --base-seed 3 --delta 0.1 --config
small_models "$SCRATCH/staged"
while read -r name memory _; do
    [ -z "$name" ] || stage_recipe "$SCRATCH/$name.yaml" "$name" "$SCRATCH/staged/"{1,2,3,4}
done <<<"$WAYS"
recipe "$SCRATCH/deltas.yaml" task_arithmetic keep "$SCRATCH/small/base" "$SCRATCH/small/tuned"
echo 'task_deltas: {density: 0.2}' >>"$SCRATCH/deltas.yaml"
printf 'merge_method: pcb\nbase_model: %s\nmodels:\n  - {model: %s, name: one}\n  - {model: %s, name: two}\n' \
    "$SCRATCH/small/base" "$SCRATCH/small/tuned" "$SCRATCH/small/other" >"$SCRATCH/components.yaml"
for size in small large; do
    recipe "$SCRATCH/$size.yaml" task_arithmetic keep "$SCRATCH/$size/base" "$SCRATCH/$size/tuned"
done
cd "$SCRATCH" || exit 1

# resumes NAME: goes on from out.partial (if a kill came before that existed, from nothing).
resumes() {
    if ! timeout 100 "$plain" merge "$recipe" out "${flags[@]}" --resume >/dev/null 2>err </dev/null; then
        fail "$1" "--resume: $(head -c 300 err)"
    elif [ "$(digest out)" != "$reference" ]; then
        fail "$1" "--resume gave other bytes"
    elif [ -e out.partial ]; then
        fail "$1" "out.partial remains"
    elif ! "$plain" verify out >/dev/null 2>err; then
        fail "$1" "verify: $(head -c 300 err)"
    else
        pass
    fi
}

# One merge that dies at the n-th call of a kind. In the background, because bash comments on other deaths.
killed_at() { # KIND N FLAGS...
    WEFT_FAULT=$1:$2:kill timeout 100 "$faulty" merge $recipe out "${flags[@]}" "${@:3}" >/dev/null 2>err </dev/null &
    wait $! 2>/dev/null
}

reference_of() {
    rm -rf out out.partial
    timeout 100 "$plain" merge "$recipe" out "${flags[@]}" >/dev/null 2>err || fail "merge $recipe" "$(cat err)"
    digest out
}

# For n = 1, 2 ... until the merge has no n-th call of the kind; STEP is what is added to n.
kill_at_each() { # NAME KIND STEP
    local n code killed=0
    for ((n = 1; n < 500; n += (LONG == 1 ? 1 : $3))); do
        rm -rf out out.partial
        killed_at $2 $n
        code=$?
        [ $code = 0 ] && break
        killed=$((killed + 1))
        if [ $code != 137 ]; then
            fail "$1: kill at $2 $n" "exit $code: $(head -c 300 err)"
        else
            resumes "$1: kill at $2 $n"
        fi
    done
    [ $killed != 0 ] || fail "$1: kill at $2" "nothing was killed: is this a build with FAULTS=1?"
}

# SIGKILL exactly at the n-th call of a kind; with task deltas, too, which are made after the shards, and with
# components, which are made of the stream.
for recipe in small.yaml deltas.yaml components.yaml; do
    flags=(--threads 2 --memory 64Mi --progress none --shard-size 100000)
    [ $recipe != components.yaml ] || flags+=(--emit-components)
    reference=$(reference_of)
    for kind in write sync rename open; do
        kill_at_each $recipe $kind 'n < 10 ? 1 : 4'
    done
done

# The same with statistics. Some shards are finished: a tensor's or model's other ones need the elements of all.
while read -r name memory what; do
    [ -n "$name" ] || continue
    recipe=$name.yaml flags=(--threads 3 --memory $memory --progress none --shard-size 200000)
    reference=$(reference_of)
    for kind in write sync; do
        kill_at_each "$what" $kind '1 + n / 3'
    done
done <<<"$WAYS"
recipe=small.yaml flags=(--threads 2 --memory 64Mi --progress none --shard-size 100000)
reference=$(reference_of)

# A second crash in the resumed run, and a third.
for n in 3 9 15; do
    rm -rf out out.partial
    for again in 1 2 3; do
        killed_at write $n --resume
    done
    resumes "three crashes in a row at write $n"
done

# SIGKILL, SIGTERM, SIGINT, SIGUSR1 somewhere in a longer merge.
interrupted_at_random() { # ROUNDS; uses $recipe and $flags, adds to $stopped
    local begin whole i signal pid sent code took name
    begin=$(date +%s%N)
    reference=$(reference_of)
    whole=$(($(date +%s%N) - begin))
    for ((i = 0; i < $1; i++)); do
        signal=$(cut -d' ' -f$((i % 5 + 1)) <<<"KILL TERM KILL INT USR1")
        rm -rf out out.partial
        "$plain" merge $recipe out "${flags[@]}" >/dev/null 2>err </dev/null &
        pid=$!
        sleep "$(awk -v w=$whole -v r=$RANDOM 'BEGIN { printf "%.3f", w / 1e9 * r / 32768 }')"
        sent=$(date +%s%N)
        kill -$signal $pid 2>/dev/null
        wait $pid 2>/dev/null
        code=$?
        took=$((($(date +%s%N) - sent) / 1000000))
        name="$recipe: $signal after a random time ($i)"
        case $signal-$code in
        *-0) ;; # it had finished
        KILL-137) stopped=$((stopped + 1)) ;;
        *-75)
            stopped=$((stopped + 1))
            [ $took -le 5000 ] || fail "$name" "took $took ms to stop"
            [ ! -e out ] || fail "$name" "exit 75, and OUT exists"
            ;;
        TERM-143 | INT-130 | USR1-138)
            # Before the handlers are set a signal simply ends the program; nothing may be on disk by then.
            [ ! -e out.partial ] || fail "$name" "died by the signal with work on disk"
            ;;
        *) fail "$name" "exit $code: $(head -c 300 err)" ;;
        esac
        resumes "$name"
    done
}
RANDOM=20240607 stopped=0
recipe=large.yaml flags=(--threads 2 --memory 64Mi --progress none --shard-size 50MB)
interrupted_at_random "$([ "$LONG" = 1 ] && echo 60 || echo 15)"
# One shard of several blocks, the cut between them inside a tensor.
for way in "ties 8Mi" "ties-exact 64Mi" "ties-model 64Mi" "ties-model-exact 2Gi"; do
    recipe=${way% *}-large.yaml flags=(--threads 2 --progress none --memory "${way#* }")
    stage_recipe "$recipe" "${way% *}" large/{base,tuned,tuned,tuned}
    interrupted_at_random "$([ "$LONG" = 1 ] && echo 20 || echo 3)"
done
[ $stopped -gt 0 ] || fail "signals" "no run was interrupted; the model is too small for this machine"
finish
