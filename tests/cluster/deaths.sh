#!/usr/bin/env bash
# deaths.sh - SIGKILL for one rank or for all, at random points: the others stop in time and say who is missing, and
# --resume with another number of ranks ends with the bytes of an undisturbed merge.
#
# SEED=N repeats a run's choices, ROUNDS=N sets how many there are.
source tests/cluster/cluster.sh
source tests/suite/stages.sh

seed=${SEED:-$(($(date +%s) % 30000))}
rounds=${ROUNDS:-$([ "$LONG" = 1 ] && echo 50 || echo 10)}
RANDOM=$seed
echo "seed $seed, $rounds rounds"
at_once=5 # most of a round is silence

large_models "$SCRATCH/large" 150MB
cd "$SCRATCH" || exit 1
recipe task.yaml task_arithmetic keep large/m{1,2,3}
for name in ties della; do
    stage_recipe $name.yaml $name large/m{1,2,3,2}
done
recipes=(task ties della)
flags=(--progress none --threads 1 --shard-size 20MB)
declare -A wanted whole
for name in "${recipes[@]}"; do
    from=$(date +%s%N)
    mkdir one-$name
    "$weft" merge $name.yaml one-$name/out "${flags[@]}" >/dev/null 2>err || fail "$name" "$(head -c 300 err)"
    whole[$name]=$((($(date +%s%N) - from) / 1000000))
    wanted[$name]=$(folder_digest one-$name/out)
done

met() { # OUT N: whether all ranks have found each other
    [ "$(cat "$1".partial/ranks/* 2>/dev/null | grep -c '^state working')" = "$2" ] || [ -e "$1" ]
}

# One round, in a folder of its own; the results are printed for the parent to count.
die_and_resume() { # NUMBER RECIPE N VICTIM DELAY-MS RESUME-N
    local round=$1 recipe=$2 n=$3 victim=$4 delay=$5 again=$6 what
    what="round $round: $recipe by $n ranks, rank $victim dies after $delay ms"
    logs=$PWD/round-$round/logs
    mkdir -p "$logs"
    start_ranks "$n" "$weft" merge "$recipe.yaml" "round-$round/out" "${flags[@]}"
    [ "$victim" = all ] || slurm_wait 60 met "round-$round/out" "$n" || echo "FAIL  $what: the ranks do not meet: $(said)"
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    if [ "$victim" = all ]; then
        kill -9 "${pids[@]}" 2>/dev/null
    else
        kill -9 "${pids[$victim]}" 2>/dev/null
    fi
    end_ranks
    if [[ $codes != *137* ]]; then
        echo "too late"
        all_ended 0 || echo "FAIL  $what: exit codes $codes: $(said)"
    elif [ "$victim" != all ]; then
        others_stopped "$what" "$victim"
    fi
    ranks "$again" "$weft" merge "$recipe.yaml" "round-$round/out" "${flags[@]}" --resume
    (
        passed=0 failed=0
        same_folder "$what, $again ranks resume" "round-$round/out" "${wanted[$recipe]}"
        [ $failed != 0 ] || echo "pass"
    )
    rm -rf "round-$round"
}

# One that dies after the folder is published leaves nothing for the others to miss.
others_stopped() { # WHAT VICTIM
    local code
    if [ -e "${logs%/*}/out" ]; then
        echo "too late"
    elif [ "$took" -gt 30 ]; then
        echo "FAIL  $1: the others took $took s to stop"
    elif [[ " $codes " == *" 0 "* ]]; then
        echo "FAIL  $1: exit codes $codes"
    elif [ "$(errors | wc -l)" != 1 ] || ! errors | grep -qE "rank $2 on [^ :]+ "; then
        echo "FAIL  $1: no single error that names rank and host: $(errors | head -n 3 | tr '\n' ' ')"
    else
        echo "pass"
    fi
}

for ((i = 0; i < rounds; i++)); do
    name=${recipes[RANDOM % 3]} n=$((2 + RANDOM % 4))
    victim=$((RANDOM % n)) again=$((1 + (n + RANDOM % 4) % 5)) # any of 1 to 5 but n
    [ $((i % 2)) = 0 ] || victim=all
    delay=$((RANDOM % 1000 * ${whole[$name]} * ${DELAY:-2} / 1000))
    [ $((i % at_once)) = 0 ] && wait
    die_and_resume $i "$name" $n $victim $delay $again >result-$i 2>/dev/null &
done
wait
sort result-* | grep '^FAIL'
passed=$((passed + $(cat result-* | grep -c '^pass')))
failed=$((failed + $(cat result-* | grep -c '^FAIL')))
late=$(cat result-* | grep -c '^too late')
if [ "$late" -gt $((rounds * 2 / 3)) ]; then
    fail "deaths" "$late of $rounds merges were done before: the models are too small for this machine"
fi

# By mpirun, whose manager ends the others by itself.
if [ -n "$mpirun" ]; then
    for victim in 0 2; do
        rm -rf mpi pid.*
        mkdir mpi
        mpi 4 bash -c 'echo $$ >pid.$PMI_RANK; exec "$@"' - "$weft" merge della.yaml mpi/out "${flags[@]}" &
        waiter=$!
        slurm_wait 60 blocks_done mpi/out 1
        kill -9 "$(cat pid.$victim)" 2>/dev/null
        from=$SECONDS
        wait $waiter
        if [ $((SECONDS - from)) -le 30 ] && [ ! -e mpi/out ]; then
            pass
        else
            fail "mpirun, rank $victim dies" "OUT exists, or the others took $((SECONDS - from)) s to stop"
        fi
        mpi 3 "$weft" merge della.yaml mpi/out "${flags[@]}" --resume
        same_folder "mpirun, rank $victim died, 3 ranks resume" mpi/out "${wanted[della]}"
    done
else
    skip "mpirun" "no MPICH, or weft was built without it"
fi
finish
