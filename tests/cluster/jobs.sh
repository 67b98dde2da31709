#!/usr/bin/env bash
# jobs.sh - merges under Slurm: steps of several ranks, a batch script without srun, and the templates of configs/slurm
# themselves, which are stopped, requeued and lose a node, and end with the bytes of an undisturbed merge.
source tests/cluster/cluster.sh
slurm_up 3 || { skip "Slurm" "$slurm_why"; finish; }

templates=$root/configs/slurm
large_models "$SCRATCH/large" 800MB
cd "$SCRATCH" || exit 1
recipe task.yaml task_arithmetic keep large/m{1,2,3}
cat >della.yaml <<'YAML'
# Slow enough, with one thread, to be stopped half way.
merge_method: della
base_model: large/m1
parameters: {weight: 0.5, density: 0.5, epsilon: 0.1}
models: [model: large/m2, model: large/m3]
YAML
printf 'merge_method: ties\nbase_model: large/m1\nparameters: {weight: 1, density: 0.2, scope: model}\n' >model.yaml
printf 'models: [model: large/m2, model: large/m3]\n' >>model.yaml
flags=(--progress none --threads 1 --shard-size 100MB)
declare -A wanted
for name in task della model; do
    mkdir "$name"
    "$weft" merge $name.yaml $name/out "${flags[@]}" >/dev/null 2>err || fail "$name" "$(head -c 300 err)"
    wanted[$name]=$(folder_digest $name/out)
done

# ---- steps ----

mkdir steps
for way in "2 1" "4 2" "3 3" "8 3"; do
    read -r n nodes <<<"$way"
    rm -rf steps/*
    mpi=none step "$n" "$nodes" "$weft" merge della.yaml steps/out "${flags[@]}"
    same_folder "srun -n $n -N $nodes, no MPI" steps/out "${wanted[della]}"
done
rm -rf steps/*
mpi=none step 4 2 "$weft" merge model.yaml steps/out "${flags[@]}"
if all_ended '[24]' && reasons | grep -q MPI && [ ! -e steps/out ]; then
    pass
else
    fail "srun without MPI, scope model" "no refusal: exit $codes, $(said)"
fi
if [ "$mpi" != none ]; then
    for way in "2 2" "4 3"; do
        read -r n nodes <<<"$way"
        rm -rf steps/*
        step "$n" "$nodes" "$weft" merge model.yaml steps/out "${flags[@]}"
        same_folder "srun --mpi=$mpi -n $n -N $nodes, scope model" steps/out "${wanted[model]}"
    done
else
    skip "srun with MPI" "$no_mpi"
fi

# ---- jobs ----

has_ended() { [[ $(job_field "$1" JobState) =~ ^(COMPLETED|FAILED|CANCELLED|NODE_FAIL|TIMEOUT)$ ]]; }
of_job() { tail -q -n 3 ./*-"$1"*.log 2>/dev/null | tr '\n' ' '; } # for messages

# submit TEMPLATE OPTIONS-OF-SBATCH... -- ARGUMENTS...: the job's number is left in $job
submit() {
    local template=$1 options=()
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    job=$(sbatch --parsable "${options[@]}" "$template" "$@" 2>err </dev/null) || fail "sbatch $template" "$(cat err)"
}

# completes NAME OUT RECIPE RESTARTS: the job ends well, after so many restarts
completes() {
    if ! slurm_wait 90 has_ended "$job"; then
        fail "$1" "still $(job_field "$job" JobState) after 90 s: $(of_job "$job")"
        scancel "$job"
    elif [ "$(job_field "$job" JobState)" != COMPLETED ]; then
        fail "$1" "$(job_field "$job" JobState), $(job_field "$job" ExitCode): $(of_job "$job")"
    elif [ "$(job_field "$job" Restarts)" != "$4" ]; then
        fail "$1" "$(job_field "$job" Restarts) restarts, not $4"
    elif [ "$(folder_digest "$2")" != "${wanted[$3]}" ]; then
        fail "$1" "other bytes than from one undisturbed process"
    elif [ "$4" != 0 ] && ! cat ./*-"$job"-*.log | grep -q 'weft: info: resuming: '; then
        fail "$1" "the work of the first run was lost: $(of_job "$job")"
    else
        pass
    fi
}

# In a batch script Slurm speaks of four tasks, but there is one process.
cat >batch.sh <<'BATCH'
#!/bin/bash
echo "$SLURM_PROCID of $SLURM_NTASKS" >batch.env
exec "$WEFT" merge task.yaml batch/out --threads 1 --shard-size 100MB --progress none
BATCH
mkdir batch
submit batch.sh --ntasks=4 --output=batch-%j.log --
completes "batch script without srun" batch/out task 0
if [ "$(cat batch.env)" = "0 of 4" ]; then pass; else fail "batch script without srun" "it was told: $(cat batch.env)"; fi

# Every template: told to stop in the middle, it requeues itself and goes on.
export PROGRESS_SECONDS=0.1
stop_and_go() { # NAME OUT TEMPLATE OPTIONS...
    local name=$1 out=$2 template=$3
    shift 3
    mkdir -p "$(dirname "$out")"
    submit "$templates/$template" --mem=2G --cpus-per-task=1 "$@"
    if slurm_wait 60 blocks_done "$out" 2; then
        squeue -h -j "$job" -o %k >comment
        scancel --batch --signal=USR1 "$job"
    else
        fail "$name" "does not work: $(of_job "$job")"
    fi
    completes "$name" "$out" della 1
}
stop_and_go "merge.sbatch, USR1" single/out merge.sbatch -- della.yaml single/out "${flags[@]:2}"
if [[ $(cat comment) == della.yaml:* && $(scontrol show job "$job") == *'Comment=della.yaml: resuming'* ]]; then
    pass
else
    fail "merge.sbatch" "squeue shows '$(cat comment)' of its progress; $(scontrol show job "$job" | grep Comment=)"
fi
stop_and_go "merge-multinode.sbatch, USR1" multi/out merge-multinode.sbatch --nodes=3 -- \
    della.yaml multi/out "${flags[@]:2}"

# The same command on what is complete ends at once.
submit "$templates/merge.sbatch" --mem=2G -- della.yaml single/out "${flags[@]:2}"
completes "merge.sbatch, of a merge that is complete" single/out della 0

# A rank is killed: the others end by themselves and say why; the same job with fewer nodes goes on.
mkdir killed
printf '#!/bin/bash\necho $$ >killed/$SLURM_PROCID; exec "%s" "$@"\n' "$weft" >noting_its_number.sh
chmod +x noting_its_number.sh
WEFT=./noting_its_number.sh submit "$templates/merge-multinode.sbatch" --mem=2G --nodes=3 --cpus-per-task=1 -- \
    della.yaml killed/out "${flags[@]:2}"
slurm_wait 60 blocks_done killed/out 2 || fail "a rank is killed" "the job does not work: $(of_job "$job")"
kill -9 "$(cat killed/1)"
from=$SECONDS
if ! slurm_wait 60 has_ended "$job" || [ "$(job_field "$job" JobState)" != FAILED ] || [ $((SECONDS - from)) -gt 32 ]; then
    fail "a rank is killed" "the job is $(job_field "$job" JobState) after $((SECONDS - from)) s: $(of_job "$job")"
elif [[ $(grep -h '^weft: error: ' weft-"$job"-*.log | sort -u) != *'rank 1 on n2'* ]]; then
    fail "a rank is killed" "no error that names it: $(of_job "$job")"
else
    pass
fi
submit "$templates/merge-multinode.sbatch" --mem=2G --nodes=2 --cpus-per-task=1 -- della.yaml killed/out "${flags[@]:2}"
completes "a rank was killed, two nodes go on" killed/out della 0
if grep -q 'weft: info: resuming: ' weft-"$job"-0.log; then pass; else fail "a rank was killed" "its work was lost"; fi

# A node is lost in the middle: Slurm itself requeues the job.
mkdir node
submit "$templates/merge-multinode.sbatch" --mem=2G --nodes=2 --nodelist=n1,n2 --cpus-per-task=1 -- \
    della.yaml node/out "${flags[@]:2}"
slurm_wait 60 blocks_done node/out 2 || fail "a node goes down" "the job does not work: $(of_job "$job")"
scontrol update nodename=n2 state=down reason=test
completes "a node goes down" node/out della 1
scontrol update nodename=n2 state=resume 2>/dev/null

# Each task is bound to a GPU of its own.
if [ -e "$slurm_dir/gres.conf" ]; then
    mkdir gpus
    printf '#!/bin/bash\necho "$SLURM_NODEID $CUDA_VISIBLE_DEVICES" >gpus/$SLURM_PROCID; exec "%s" "$@"\n' "$weft" >noting_gpus.sh
    chmod +x noting_gpus.sh
    WEFT=./noting_gpus.sh submit "$templates/merge-multinode.sbatch" --mem=2G --nodes=2 --ntasks-per-node=2 \
        --gpus-per-task=1 --cpus-per-task=1 -- task.yaml gpus/out "${flags[@]:2}"
    completes "a GPU for each task" gpus/out task 0
    if [ "$(cat gpus/[0-3] | sort | tr '\n' ,)" = "0 0,0 1,1 0,1 1," ]; then
        pass
    else
        fail "a GPU for each task" "nodes and GPUs of the tasks: $(cat gpus/[0-3] | tr '\n' ,)"
    fi
else
    skip "a GPU for each task" "not allowed to make device files"
fi

# A sweep of which one recipe is wrong: the others are made, and nothing is tried for ever.
printf 'merge_method: linear\nmodels: [model: nowhere]\n' >wrong.yaml
WEFT_FLAGS="${flags[*]:2}" submit "$templates/merge-array.sbatch" --array=1-3 --mem=2G --cpus-per-task=1 -- \
    sweep task.yaml wrong.yaml della.yaml
array=$job
state_of() { scontrol show job "${array}_$1" 2>/dev/null | grep -q "JobState=$2"; }
for task in "1 task COMPLETED" "2 wrong FAILED" "3 della COMPLETED"; do
    read -r n name state <<<"$task"
    if ! slurm_wait 60 state_of "$n" "$state"; then
        fail "merge-array.sbatch, $name" "is not $state: $(tail -q -n 3 ./*-"${array}_$n"*.log | tr '\n' ' ')"
    elif [ "$state" = COMPLETED ] && [ "$(digest "sweep/$name")" != "$(digest "$name/out")" ]; then
        fail "merge-array.sbatch, $name" "other bytes"
    else
        pass
    fi
done
if grep -q 'wrong.yaml.*nowhere' ./weft-sweep-"${array}"_2-0.log; then
    pass
else
    fail "merge-array.sbatch" "no message of wrong.yaml in its log"
fi
finish
