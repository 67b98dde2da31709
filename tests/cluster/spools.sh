#!/usr/bin/env bash
# spools.sh - what several ranks spool and the first assembles: task deltas and components have the bytes that one
# process makes, whoever saw which part of the model, also where some see nothing.
source tests/cluster/cluster.sh

large_models "$SCRATCH/large" 150MB
ln -s "$root/tests/data/tinylm" "$SCRATCH/tiny"
cd "$SCRATCH" || exit 1

# deltas FILE FOLDER "BASE NAME..." TASK_DELTAS
deltas() {
    local names name
    read -ra names <<<"$3"
    {
        printf 'merge_method: task_arithmetic\nbase_model: %s/%s\nmodels:\n' "$2" "${names[0]}"
        for name in "${names[@]:1}"; do
            printf '  - {model: %s/%s, parameters: {weight: 0.4}}\n' "$2" "$name"
        done
        echo "task_deltas: $4"
    } >"$1"
}

# by LAUNCHER... -- ARGUMENTS...: merges into out/out
by() {
    local launcher=()
    while [ "$1" != -- ]; do
        launcher+=("$1")
        shift
    done
    rm -rf out
    mkdir out
    "${launcher[@]}" "$weft" merge "${@:2}" out/out --progress none --threads 1
}

# one ARGUMENTS...: the digest of what one process makes, in $wanted
one() {
    by ranks 1 -- "$@"
    wanted=$(folder_digest out/out)
    [ -n "$wanted" ] || fail "$*" "$(said)"
}

# Whoever sees only tensors needs no library.
by_files() { # NAME ARGUMENTS...
    local name=$1 n
    shift
    one "$@"
    for n in 2 3 5; do
        by ranks $n -- "$@"
        same_folder "$name, $n ranks" out/out "$wanted"
    done
}

# alone NAME: the first rank has said once that it works alone, or, with a second word, nobody has
alone() {
    [ "$(cat "$logs"/*.err | grep -c 'rank 0 makes them alone')" = "${2-1}" ] ||
        fail "$1" "the first rank works alone, or should: $(said)"
}

# The whole model's thresholds are joined by MPI; where that cannot be, the first rank finds them alone: without a
# library, with one that needs another launcher, with one that a rank lacks.
over_the_model() { # NAME ARGUMENTS...
    local name=$1 n
    shift
    one "$@"
    for n in 2 3; do
        WEFT_MPI_PLUGIN=none by ranks $n -- "$@"
        same_folder "$name, $n ranks without MPI" out/out "$wanted"
        alone "$name, $n ranks without MPI"
        [ -n "$mpirun" ] || continue
        by ranks $n -- "$@"
        same_folder "$name, $n ranks with another launcher" out/out "$wanted"
        alone "$name, $n ranks with another launcher"
        by mpi $n -- "$@"
        same_folder "$name, mpirun -n $n" out/out "$wanted"
        alone "$name, mpirun -n $n" 0
    done
}

tiny=(tiny 'base python english')
large=(large 'm1 m2 m3')
deltas by-tensor.yaml "${tiny[@]}" '{density: 0.1, scope: tensor}'
deltas added.yaml "${tiny[@]}" '{density: 0.05, scope: tensor, store: add, dir: parts/each}'
deltas nothing.yaml "${tiny[@]}" '{density: 0}'
deltas everything.yaml "${tiny[@]}" '{density: 1}'
for name in by-tensor added nothing everything; do
    by_files "$name" "$name.yaml"
    by_files "$name, many blocks" "$name.yaml" --shard-size 50000
done
deltas large.yaml "${large[@]}" '{density: 0.02, scope: tensor}'
by_files "tensors cut by the ranks' borders" large.yaml
deltas model.yaml "${tiny[@]}" '{density: 0.1}'
over_the_model "scope model" model.yaml --shard-size 50000
deltas large-model.yaml "${large[@]}" '{density: 0.02, store: add}'
over_the_model "scope model, large" large-model.yaml

sed 's/task_arithmetic/pcb/; s/, parameters: [^}]*}//; s/task_deltas.*/parameters: {density: 0.3, lambda: 0.7}/' \
    large.yaml >pcb.yaml
one pcb.yaml --emit-components
for n in 2 3 5; do
    [ -n "$mpirun" ] || break
    by mpi $n -- pcb.yaml --emit-components
    same_folder "components, mpirun -n $n" out/out "$wanted"
done
[ -n "$mpirun" ] || skip "mpirun" "$no_mpi"

# in_the_second_step SIGNAL: three ranks, of which the last gets the signal while it spools
in_the_second_step() {
    local deadline=$((SECONDS + 60))
    rm -rf out
    mkdir out
    start_ranks 3 "$weft" merge large.yaml out/out --progress none --threads 1
    until [ -e out/out.partial/spool/2/1.index ] || [ $SECONDS -ge $deadline ]; do sleep 0.002; done
    kill "-$1" "${pids[2]}"
    end_ranks
}

# goes_on NAME N: what is left is resumed by N ranks
goes_on() {
    ranks "$2" "$weft" merge large.yaml out/out --progress none --threads 1 --resume
    same_folder "$1, resumed by $2 ranks" out/out "$wanted"
}

one large.yaml
in_the_second_step TERM
if all_ended 75; then pass; else fail "a rank is told to stop while it spools" "exit codes $codes: $(said)"; fi
goes_on "a rank was told to stop while it spooled" 2
in_the_second_step KILL
if [ "$codes" = '4 4 137' ] && [ "$(errors | wc -l)" = 1 ] && errors | grep -q 'rank 2 on' && [ $took -le 30 ]; then
    pass
else
    fail "a rank dies while it spools" "exit codes $codes after $took s: $(errors)"
fi
goes_on "a rank died while it spooled" 4

finish
