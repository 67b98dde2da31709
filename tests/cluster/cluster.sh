# cluster.sh - what the suites of several ranks share: launchers, models, and the comparison of whole folders.
# Sourced first; brings suite.sh and loopback.sh.
#
# Launchers. Each leaves the exit codes in $codes ("0 0 75"; of mpi and step there is one), the output in $logs.
#
#   ranks N COMMAND...        N processes of one merge, each told its rank as MPICH's mpirun tells it, but without MPI.
#                             Rank R writes $logs/R.out and $logs/R.err.
#   start_ranks N COMMAND...  the same in two steps, with the processes' numbers in ${pids[@]};
#   end_ranks                 $took is the seconds that it waited
#   mpi N COMMAND...          by mpirun, if $mpirun is not empty (else $no_mpi says why)
#   step N NODES COMMAND...   by srun --mpi=$mpi
#   all_ended CODE            whether all exited with it
#   errors, reasons           the error lines of all ranks, each once; the same without "rank 3 on n4: "
#
# shellcheck shell=bash disable=SC2034
source tests/suite/suite.sh
source tests/cluster/loopback.sh

# This may run inside a job of a real cluster: nothing of it is meant for us.
unset "${!SLURM_@}" "${!PMI_@}" "${!PMIX_@}" "${!MPI_@}" "${!OMPI_@}"
weft=$PWD/build/plain/weft
mkckpt=$PWD/build/plain/mkckpt
root=$PWD
export WEFT=$weft
requires "$weft" "$mkckpt"
logs=$SCRATCH/logs
mkdir -p "$logs"
codes='' took=0 pids=() n_ranks=0 watchdog=''

# The process manager of the MPI that the plugin was built with; none without a plugin.
mpirun='' mpi_flags=() mpi=none no_mpi="weft was built without MPI"
if readelf -d build/libweft_mpi.so 2>/dev/null | grep -q 'NEEDED.*libmpich'; then
    mpirun=$(command -v mpirun.mpich || command -v mpirun) mpi=pmi2 no_mpi="mpirun is not installed"
elif [ -e build/libweft_mpi.so ]; then
    mpirun=$(command -v mpirun.openmpi || command -v mpirun) mpi=pmix no_mpi="mpirun is not installed"
    mpi_flags=(--oversubscribe --allow-run-as-root)
fi

start_ranks() { # N COMMAND...
    local r
    n_ranks=$1
    shift
    rm -f "$logs"/*
    pids=()
    for ((r = 0; r < n_ranks; r++)); do
        PMI_RANK=$r PMI_SIZE=$n_ranks MPI_LOCALRANKID=$r MPI_LOCALNRANKS=$n_ranks \
            "$@" >"$logs/$r.out" 2>"$logs/$r.err" </dev/null &
        pids+=($!)
    done
    { sleep "${LIMIT:-100}"; kill -9 "${pids[@]}"; } >/dev/null 2>&1 &
    watchdog=$!
}

end_ranks() {
    local pid from=$SECONDS
    codes=''
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null
        codes+=" $?"
    done
    codes=${codes# } took=$((SECONDS - from))
    pkill -P $watchdog 2>/dev/null
    kill $watchdog 2>/dev/null
    wait $watchdog 2>/dev/null
}

ranks() { # N COMMAND...
    start_ranks "$@"
    end_ranks
}

mpi() { # N COMMAND...
    local n=$1
    shift
    rm -f "$logs"/*
    timeout -k 5 "${LIMIT:-100}" "$mpirun" "${mpi_flags[@]}" -n "$n" "$@" >"$logs/0.out" 2>"$logs/0.err" </dev/null
    codes=$?
}

step() { # N NODES COMMAND...
    local n=$1 nodes=$2
    shift 2
    rm -f "$logs"/*
    timeout -k 5 "${LIMIT:-100}" srun --mpi="$mpi" --quiet -n "$n" -N "$nodes" "$@" \
        >"$logs/0.out" 2>"$logs/0.err" </dev/null
    codes=$?
}

all_ended() { [[ $codes =~ ^$1(\ $1)*$ ]]; }
errors() { grep -h '^weft: error: ' "$logs"/*.err | sort -u; }
reasons() { errors | sed -E 's/rank [0-9]+ on [^ :]+: //' | sort -u; } # where all ranks find the same by themselves
said() { head -c 400 "$logs"/*.err 2>/dev/null | tr '\n' ' '; } # for messages of failures

# Every file of an OUT, by name and content. Results are compared as folders of one name in different places, as the
# model card holds the name.
folder_digest() { [ -d "$1" ] && tree_digest "$1"; }

# same_folder NAME OUT DIGEST: after a merge that should have ended with 0
same_folder() {
    if ! all_ended 0; then
        fail "$1" "exit codes $codes: $(said)"
    elif [ "$(folder_digest "$2")" != "$3" ]; then
        fail "$1" "other bytes than from one process"
    elif [ -e "$2.partial" ]; then
        fail "$1" "$2.partial remains"
    else
        pass
    fi
}

# A base and two fine-tunes, m1 to m3: one shard of SIZE, which is cut by the borders of blocks and so of ranks.
large_models() { # FOLDER SIZE
    local i
    for i in 1 2 3; do
        "$mkckpt" --out "$1/m$i" --bytes "$2" --seed $i --base-seed 1 --delta 0.1 --config || return
    done
}

# blocks_done OUT N: whether at least N blocks of OUT.partial are safe on disk
blocks_done() { [ "$(cat "$1".partial/weft.journal* 2>/dev/null | grep -c '^block ')" -ge "$2" ]; }
