#!/usr/bin/env bash
# transport.sh - test_transport under mpirun: sums and gatherings of 1 to 8 ranks over MPI, and what a rank learns when
# another is missing, killed, or out of step. Needs build/plain/test_transport (make variant variant-transport).
source tests/suite/suite.sh
program=build/plain/test_transport
export WEFT_MPI_PLUGIN=$PWD/build/libweft_mpi.so

# ---- with and without an MPI to build with ----

check "MPI=0 leaves the plugin out" make -s -n mpi-plugin MPI=0
for wrong in "MPI=maybe" "MPI=1 MPICC=$SCRATCH/nothing"; do
    # shellcheck disable=SC2086
    if make -s -n mpi-plugin CUDA=0 $wrong >"$SCRATCH/said" 2>&1; then
        fail "make $wrong" "was accepted"
    elif grep -qF "${wrong%% *}: " "$SCRATCH/said"; then
        pass
    else
        fail "make $wrong" "does not say why: $(head -c 300 "$SCRATCH/said")"
    fi
done

# The process manager of the MPI that the plugin was built with.
if [ ! -e "$WEFT_MPI_PLUGIN" ]; then
    skip "ranks over MPI" "libweft_mpi.so was not built: $(mk/find-mpi.sh | sed 's/^- //')"
    finish
fi
flags='' rough=''
if readelf -d "$WEFT_MPI_PLUGIN" | grep -q 'NEEDED.*libmpich'; then
    mpirun=$(command -v mpirun.mpich || command -v mpirun)
    rough=-disable-auto-cleanup # leaves a dead rank to the others, most of the time
else
    mpirun=$(command -v mpirun.openmpi || command -v mpirun)
    flags="--oversubscribe --allow-run-as-root"
fi
[ -n "$mpirun" ] || { skip "ranks over MPI" "mpirun is not installed"; finish; }
requires $program

shown=$(nm -D --defined-only "$WEFT_MPI_PLUGIN" | awk '{ print $3 }')
if [ "$shown" = weft_mpi_get ]; then pass; else fail "symbols of the plugin" "shows $(tr '\n' ' ' <<<"$shown")"; fi
if readelf -d build/plain/weft | grep -qi 'NEEDED.*mpi'; then fail "weft" "is linked with MPI"; else pass; fi
if build/plain/weft doctor "$SCRATCH" | grep -qE ' MPI +(MPICH|Open MPI|[A-Z])'; then
    pass
else
    fail "doctor" "does not say which MPI there is: $(build/plain/weft doctor "$SCRATCH" | grep MPI)"
fi

# ---- ranks ----

# ranks N CASE WANTED [FLAG...]: as many ranks as WANTED (a pattern) say that it went well.
turn=0
ranks() {
    turn=$((turn + 1))
    local n=$1 case=$2 wanted=$3 folder=$SCRATCH/$turn ok
    shift 3
    mkdir -p "$folder"
    # shellcheck disable=SC2086
    timeout 100 "$mpirun" $flags "$@" -n "$n" $program "$case" "$folder" >"$folder/said" 2>&1 </dev/null
    ok=$(find "$folder" -name 'ok.*' | wc -l)
    # shellcheck disable=SC2053
    if [[ $ok != $wanted ]]; then
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
ranks 3 a_rank_that_never_starts_costs_the_limit 3
if [ -n "$rough" ]; then
    ranks 3 a_killed_rank_ends_the_wait '[02]' $rough # none: mpirun was quicker
else
    skip "a killed rank" "this mpirun ends the others itself"
fi

# Over devices: how they find each other, by MPI and by a file; and the same operations over the other table.
mpi=$WEFT_MPI_PLUGIN
export TEST_DEVICES=fake
for n in 1 2 4; do
    ranks $n exchange $n
    WEFT_MPI_PLUGIN=none ranks $n exchange $n
    WEFT_MPI_PLUGIN=none ranks $n exchange_in_small_pieces $n
done
for WEFT_MPI_PLUGIN in "$mpi" none; do
    ranks 3 ranks_out_of_step_are_refused 3
    ranks 3 a_rank_that_does_not_come_costs_the_limit 3
    ranks 3 a_signal_ends_the_wait 3
    ranks 3 a_rank_that_never_starts_costs_the_limit 3
done
# Devices for some of the ranks: over MPI.
for n in 2 5; do
    WEFT_MPI_PLUGIN=$mpi TEST_DEVICES=some ranks $n exchange $n
done
# No devices: over MPI all the same. Neither: a sentence.
export FAKE_COMM_MISSING=1
WEFT_MPI_PLUGIN=$mpi ranks 2 exchange 2
WEFT_MPI_PLUGIN=none ranks 2 without_a_transport_it_is_refused 2
unset TEST_DEVICES
WEFT_MPI_PLUGIN=none ranks 2 without_a_transport_it_is_refused 2
finish
