#!/usr/bin/env bash
# refusals.sh - what goes wrong on one rank: all stop with one error that says where and what, and nothing is lost.
source tests/cluster/cluster.sh

large_models "$SCRATCH/large" 150MB
# The fine-tune with other types, and with a number that is none.
"$mkckpt" --out "$SCRATCH/other/m2" --bytes 150MB --seed 2 --base-seed 1 --delta 0.1 --dtype f16 --config
"$mkckpt" --out "$SCRATCH/other/nan" --bytes 150MB --seed 2 --base-seed 1 --delta 0.1 --config --nan lm_head.weight:12345
cd "$SCRATCH" || exit 1
for name in m2 nan; do # with one thread slow enough to be stopped
    { echo "merge_method: della"; echo "base_model: large/m1"; echo "parameters: {weight: 0.5, density: 0.5}"; } >$name.yaml
done
echo 'models: [model: large/m3, model: $WHERE/m2]' >>m2.yaml
echo 'models: [model: large/m3, model: other/nan]' >>nan.yaml
sed 's/weight: 0\.5/weight: 0.6/' m2.yaml >heavier.yaml
export WHERE=large
flags=(--progress none --threads 1 --shard-size 20MB)
mkdir one
"$weft" merge m2.yaml one/out "${flags[@]}" >/dev/null 2>err || fail "one process" "$(head -c 300 err)"
wanted=$(folder_digest one/out)

# all_say NAME CODE PATTERN...: every rank ended with CODE, within 30 s, with one and the same line; no OUT. A rank that
# starts after the others have ended (2, 4) finds what they left, or nobody.
all_say() {
    local name=$1 code=$2 pattern
    local late='many/out.partial is there from an earlier run|no sign of rank 0 in'
    shift 2
    if ! all_ended "$code" && ! { [[ " $codes " == *" $code "* ]] && errors | grep -qE "$late"; }; then
        fail "$name" "exit codes $codes, not $code: $(errors | tr '\n' ' ')"
    elif [ "$took" -gt 30 ]; then
        fail "$name" "took $took s"
    elif [ "$(errors | grep -cvE "$late")" -gt 1 ] && [ "$(reasons | wc -l)" != 1 ]; then
        fail "$name" "not one error: $(errors | head -n 4 | tr '\n' ' ')"
    elif [ -e many/out ]; then
        fail "$name" "OUT exists"
    else
        for pattern in "$@"; do
            errors | grep -qE -- "$pattern" || { fail "$name" "no $pattern in: $(errors)"; return; }
        done
        pass
    fi
}

# on RANK COMMAND...: the command for one rank, and weft merge m2.yaml for the others
on() {
    local rank=$1
    shift
    # shellcheck disable=SC2016
    printf '#!/bin/bash\nif [ "$PMI_RANK" = %s ]; then %s; else exec "$WEFT" merge m2.yaml many/out %s "$@"; fi\n' \
        "$rank" "$*" "${flags[*]}" >on.sh
    chmod +x on.sh
}
merge="exec \"\$WEFT\" merge m2.yaml many/out ${flags[*]}" # for one rank to vary
anew() { rm -rf many && mkdir many; }

# ---- ranks that do not agree ----

disagree() { # NAME PATTERN: as `on` has set it; first from nothing, then on top of saved work
    anew
    ranks 4 ./on.sh
    all_say "$1" 2 "rank 2 on [^ :]+ " "$2"
    anew
    start_ranks 3 "$weft" merge m2.yaml many/out "${flags[@]}"
    slurm_wait 60 blocks_done many/out 1
    kill -USR1 "${pids[1]}" 2>/dev/null
    end_ranks
    [ ! -e many/out ] || return # this machine was quicker than the signal
    if ! all_ended 75; then fail "$1" "stopped by USR1 on one rank, exit codes $codes: $(said)"; fi
    local before after
    before=$(cat many/out.partial/weft.journal* | grep -c '^block ')
    ranks 4 ./on.sh --resume
    all_say "$1, with work saved" 2 "$2"
    after=$(cat many/out.partial/weft.journal* | grep '^block ' | sort -u | wc -l)
    if [ "$after" -ge "$before" ]; then pass; else fail "$1" "$before blocks were saved, $after are left"; fi
    ranks 2 "$weft" merge m2.yaml many/out "${flags[@]}" --resume
    same_folder "$1, then resumed" many/out "$wanted"
}
on 2 "${merge/m2.yaml/heavier.yaml}" '"$@"'
disagree "another recipe" "the recipe"
on 2 "WHERE=other; $merge" '"$@"'
disagree "an input with another header" "input|models"
on 2 "${merge/20MB/30MB}" '"$@"'
disagree "other flags" "options|shard"

# ---- a rank that cannot ----

anew
on 1 "ulimit -f 5000; $merge" '"$@"' # no file of more than 5 MB
ranks 4 ./on.sh
all_say "no space on one node" 4 "rank 1 on [^ :]+" "out.partial"
anew
ranks 4 "$weft" merge nan.yaml many/out "${flags[@]}"
all_say "NaN in the part of one rank" 3 "rank [0-3] on [^ :]+" "lm_head.weight"

# In a mount namespace of its own, so that nothing of it can be left behind.
anew
cat >full.sh <<'FULL'
mount -t tmpfs -o size=100M none many && touch mounted || exit
for r in 0 1 2; do
    PMI_RANK=$r PMI_SIZE=3 "$WEFT" merge m2.yaml many/out "$@" >"$logs/$r.out" 2>"$logs/$r.err" &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait $pid
    codes+=" $?"
done
[ ! -e many/out ] || codes+=" and OUT exists"
echo "${codes# }" >codes
FULL
rm -f "$logs"/*
logs=$logs timeout 60 unshare --mount --map-root-user bash full.sh "${flags[@]}" >/dev/null 2>&1
if [ -e mounted ]; then
    # A rank that starts when the others have ended finds what they left.
    codes=$(cat codes)
    if all_ended '[24]' && errors | grep -q 'rank [0-2] on .*many/out.partial.*space'; then
        pass
    else
        fail "a full disk" "exit codes $codes: $(errors | tr '\n' ' ')"
    fi
else
    skip "a full disk" "not allowed to mount one"
fi

# One that does not come at all is waited for, but not for ever.
if [ "$LONG" = 1 ]; then
    anew
    on 3 exit 9
    LIMIT=200 ranks 4 ./on.sh
    if [ "$codes" = "4 4 4 9" ] && errors | grep -q 'rank 3 of 4 has not shown up' && [ "$(errors | wc -l)" = 1 ]; then
        pass
    else
        fail "a rank that never comes" "exit codes $codes, after $took s: $(errors | head -n 3)"
    fi
fi

# ---- all together are as strict as one ----

anew
mkdir many/out
ranks 3 "$weft" merge m2.yaml many/out "${flags[@]}"
rmdir many/out
all_say "OUT exists" 2 "many/out"
mkdir many/out.partial
ranks 3 "$weft" merge m2.yaml many/out "${flags[@]}"
all_say "OUT.partial exists" 2 "many/out.partial"
anew
ranks 3 "$weft" merge missing.yaml many/out
all_say "no recipe" 2 "missing.yaml"
if [ -e many/out.partial ]; then fail "no recipe" "OUT.partial exists"; else pass; fi

# While ranks are at work OUT.partial is theirs.
anew
start_ranks 3 "$weft" merge m2.yaml many/out "${flags[@]}"
slurm_wait 60 test -e many/out.partial/ranks
expect_exit "a second merge" 4 "$weft" merge m2.yaml many/out "${flags[@]}" --resume
end_ranks
same_folder "while a second merge came by" many/out "$wanted"

# A single rank that is started again when all is done has nothing to wait for.
PMI_RANK=2 PMI_SIZE=3 timeout 20 "$weft" merge m2.yaml many/out "${flags[@]}" --resume >/dev/null 2>err </dev/null
code=$?
if [ $code = 0 ]; then pass; else fail "one rank again" "exit $code: $(cat err)"; fi

# Stopped while it looks for a rank 0 that has gone: as stopped, which a scheduler starts again.
mkdir gone gone/out.partial
PMI_RANK=1 PMI_SIZE=2 "$weft" merge m2.yaml gone/out "${flags[@]}" >/dev/null 2>err </dev/null &
late=$!
sleep 1
kill -TERM $late
wait $late
code=$?
if [ $code = 75 ]; then pass; else fail "stopped before it met rank 0" "exit $code: $(cat err)"; fi

# ---- what the launcher says ----

expect_exit "rank beyond the size" 2 env PMI_RANK=4 PMI_SIZE=4 "$weft" merge m2.yaml elsewhere "${flags[@]}"
expect_exit "size that is no number" 2 env PMI_RANK=0 PMI_SIZE=many "$weft" merge m2.yaml elsewhere "${flags[@]}"
expect_exit "--ranks without a launcher" 2 "$weft" merge m2.yaml elsewhere "${flags[@]}" --ranks 2
expect_exit "--ranks that are not the launcher's" 2 env PMI_RANK=0 PMI_SIZE=3 "$weft" merge m2.yaml elsewhere \
    "${flags[@]}" --ranks 2
mkdir alone
PMI_RANK=1 PMI_SIZE=4 timeout 60 "$weft" merge m2.yaml alone/out "${flags[@]}" --ranks 1 >/dev/null 2>err </dev/null
codes=$?
same_folder "--ranks 1 is alone" alone/out "$wanted"
finish
