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
    delay=$((RANDOM % 1000 * ${whole[$name]} * 7 / 10000))
    [ $((i % at_once)) = 0 ] && wait
    die_and_resume $i "$name" $n $victim $delay $again >result-$i 2>/dev/null &
done
wait
sort result-* | grep '^FAIL'
passed=$((passed + $(cat result-* | grep -c '^pass')))
failed=$((failed + $(cat result-* | grep -c '^FAIL')))
late=$(cat result-* | grep -c '^too late')
if [ "$late" -gt $((rounds * 4 / 5)) ]; then
    fail "deaths" "$late of $rounds merges were done before: the models are too small for this machine"
fi

# By mpirun, whose manager ends the others by itself; with statistics over the model, which are saved too.
if [ -n "$mpirun" ]; then
    stage_recipe model.yaml ties-model large/m{1,2,3,2}
    mkdir one-model
    from=$(date +%s%N)
    "$weft" merge model.yaml one-model/out "${flags[@]}" --memory 128Mi >/dev/null 2>err || fail model "$(head -c 300 err)"
    whole[model]=$((($(date +%s%N) - from) / 1000000))
    wanted[model]=$(folder_digest one-model/out)
    for ((i = 0; i < (LONG == 1 ? 20 : 4); i++)); do
        name=$([ $((i % 2)) = 0 ] && echo model || echo della)
        victim=$((RANDOM % 4)) delay=$((RANDOM % 1000 * ${whole[$name]} / 1000))
        again=$((1 + RANDOM % 5))
        what="mpirun -n 4 ($i): $name, rank $victim dies after $delay ms"
        rm -rf mpi pid.*
        mkdir mpi
        # shellcheck disable=SC2016
        mpi 4 bash -c 'echo $$ >pid.${PMI_RANK-$OMPI_COMM_WORLD_RANK}; exec "$@"' - \
            "$weft" merge $name.yaml mpi/out "${flags[@]}" --memory 128Mi &
        waiter=$!
        slurm_wait 60 test -e mpi/out.partial
        sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
        kill -9 "$(cat pid.$victim)" 2>/dev/null
        from=$SECONDS
        wait $waiter
        [ $((SECONDS - from)) -le 30 ] || fail "$what" "the others took $((SECONDS - from)) s to stop"
        mpi $again "$weft" merge $name.yaml mpi/out "${flags[@]}" --resume --memory 128Mi
        same_folder "$what, $again ranks resume" mpi/out "${wanted[$name]}"
    done
else
    skip "mpirun" "$no_mpi"
fi
finish
