#!/usr/bin/env bash
# transport.sh - test_transport under mpirun: sums and gatherings of 1 to 8 ranks over MPI, and what a rank learns when
# another is missing, killed, or out of step. Needs build/plain/test_transport (make variant variant-transport).
source tests/suite/suite.sh
program=build/plain/test_transport
export WEFT_MPI_PLUGIN=$PWD/build/libweft_mpi.so

# The process manager of the MPI that the plugin was built with.
if [ ! -e "$WEFT_MPI_PLUGIN" ]; then
    skip "ranks over MPI" "libweft_mpi.so was not built: $(mk/find-mpi.sh | sed 's/^- //')"
    finish
fi
flags='' rough=''
if readelf -d "$WEFT_MPI_PLUGIN" | grep -q 'NEEDED.*libmpich'; then
    mpirun=$(command -v mpirun.mpich || command -v mpirun)
    rough=-disable-auto-cleanup # a dead rank is the others' business, for once
else
    mpirun=$(command -v mpirun.openmpi || command -v mpirun)
    flags="--oversubscribe --allow-run-as-root"
fi
[ -n "$mpirun" ] || { skip "ranks over MPI" "mpirun is not installed"; finish; }
requires $program

# ranks N CASE WANTED [FLAG...]: as many ranks as WANTED say that it went well.
ranks() {
    local n=$1 case=$2 wanted=$3 folder=$SCRATCH/$2.$1 ok
    shift 3
    mkdir -p "$folder"
    # shellcheck disable=SC2086
    timeout 100 "$mpirun" $flags "$@" -n "$n" $program "$case" "$folder" >"$folder/said" 2>&1 </dev/null
    ok=$(find "$folder" -name 'ok.*' | wc -l)
    if [ "$ok" != "$wanted" ]; then
        fail "$n ranks: $case" "$ok of $wanted are well: $(head -n 8 "$folder/said" | tr '\n' ' ' | head -c 600)"
    elif grep -qiE 'segmentation|signal 11|Sanitizer|Assertion' "$folder/said"; then
        fail "$n ranks: $case" "$(grep -m 3 -iE 'segmentation|signal 11|Sanitizer|Assertion' "$folder/said" | tr '\n' ' ')"
    else
        pass
    fi
}

for n in 1 2 3 4 8; do
    ranks $n exchange $n
    ranks $n exchange_in_small_pieces $n
    ranks $n more_than_there_is_room_for_is_refused $n
    ranks $n another_size_is_refused $n
done
for n in 1 3; do
    ranks $n exchange_much $n
done
for n in 2 5; do
    ranks $n sums_of_different_lengths_are_refused $n
    ranks $n ranks_out_of_step_are_refused $n
    ranks $n a_rank_that_does_not_come_costs_the_limit $n
    ranks $n a_signal_ends_the_wait $n
done
ranks 3 a_rank_that_never_starts_mpi_costs_the_limit 3
if [ -n "$rough" ]; then
    ranks 3 a_killed_rank_ends_the_wait 2 $rough
else
    skip "a killed rank" "this mpirun ends the others itself"
fi
finish
