#!/usr/bin/env bash
# launchers.sh - 1, 2, 3, 4 and 8 ranks write the folder that one process writes, for every method, by whatever
# launcher; and who is not a rank does not take itself for one.
source tests/cluster/cluster.sh
source tests/suite/stages.sh

small_models "$SCRATCH/small"
large_models "$SCRATCH/large" 300MB
cp -r configs "$SCRATCH"
mkdir -p "$SCRATCH/tests/data"
ln -s "$root/$TINYLM" "$SCRATCH/tests/data/tinylm"
for name in $(stage_names); do
    stage_recipe "$SCRATCH/$name.yaml" "$name" "$SCRATCH/small/"{1,2,3,4}
done
for name in ties ties-model-exact karcher; do
    stage_recipe "$SCRATCH/large-$name.yaml" "$name" "$SCRATCH/large/"m{1,2,3,1}
done
recipe "$SCRATCH/large-task.yaml" task_arithmetic keep "$SCRATCH/large/"m{1,2,3}
cd "$SCRATCH" || exit 1
flags=(--progress none --threads 1)

# reference RECIPE: the digest of what one process makes of it in one/out, or nothing
reference() {
    rm -rf one
    mkdir one
    "$weft" merge "$1" one/out "${flags[@]}" >/dev/null 2>one/err </dev/null || return
    folder_digest one/out
}

# by LAUNCHER... -- RECIPE: merges into many/out
by() {
    local launcher=()
    while [ "$1" != -- ]; do
        launcher+=("$1")
        shift
    done
    rm -rf many
    mkdir many
    "${launcher[@]}" "$weft" merge "$2" many/out "${flags[@]}"
}

# Without MPI, statistics over the whole model are refused, in a sentence; everything else has the same bytes.
# $needs_mpi says which it is.
by_files_alone() { # RECIPE DIGEST
    local n
    needs_mpi=''
    for n in 1 2 3 4 8; do
        by ranks $n -- "$1"
        if [ $n = 1 ] || ! errors | grep -q MPI; then
            same_folder "$1, $n ranks" many/out "$2"
        else
            needs_mpi=yes # and so for other numbers
            if all_ended '[24]' && [ ! -e many/out ]; then pass; else fail "$1, $n ranks" "exit codes $codes: $(errors)"; fi
            return
        fi
    done
}

# Every method (each has a recipe in configs), every kind of stage; shards so small that eight ranks have some.
refused=0
# Large ones are one shard of several blocks, with borders between ranks inside of tensors.
for name in configs/*.yaml $(stage_names | sed 's/$/.yaml/') large-*.yaml; do
    flags=(--progress none --threads 1)
    [[ $name == large-* ]] || flags+=(--shard-size 50000)
    [[ $name != *-compat.yaml ]] || flags+=(--compat mergekit)
    [[ $name != configs/pcb.yaml ]] || flags+=(--emit-components)
    wanted=$(reference "$name")
    [ -n "$wanted" ] || { fail "$name" "$(head -c 300 one/err)"; continue; }
    by_files_alone "$name" "$wanted"
    # What needs no MPI does the same under mpirun: one number of ranks will do.
    [ -n "$needs_mpi" ] && refused=$((refused + 1)) numbers=(1 2 3 4 8) || numbers=(4)
    [ -n "$mpirun" ] || continue
    for n in "${numbers[@]}"; do
        by mpi "$n" -- "$name"
        same_folder "$name, mpirun -n $n" many/out "$wanted"
    done
done
[ $refused -gt 0 ] || fail "files alone" "no recipe was refused: are there none with statistics over the model?"
[ -n "$mpirun" ] || skip "mpirun" "$no_mpi"
finish
