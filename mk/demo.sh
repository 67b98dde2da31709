#!/usr/bin/env bash
# demo.sh - merges three trained language models in two ways, checks the results, and says what came out.
#
# The models (tests/data/tinylm) predict text byte by byte: one base, and fine-tunes of it for Python, English and
# C. Everything is read from there and written below build/demo.
set -eu
cd "$(dirname "$0")/.."
weft=build/weft
data=tests/data/tinylm
out=build/demo
rm -rf $out
mkdir -p $out

field() { # NAME: a number from the "done" event that merge --json prints last
    sed -n 's/.*"event":"done".*"'"$1"'":\([0-9.]*\).*/\1/p' $out/events
}
difference() { # MODEL RESULT: how far apart `weft diff` says they are
    $weft diff "$1" "$2" --json >$out/diff || [ $? = 1 ]
    sed -n 's/.*"kind":"summary".*"relative_l2":\([^,}]*\).*/\1/p' $out/diff | awk '{ printf "%.4f", $1 }'
}
numpy=''
for python in python3 /usr/bin/python3; do
    [ -n "$numpy" ] || ! $python -c 'import numpy' 2>/dev/null || numpy=$python
done
score() { # MODEL: a row of bits per byte of C, English, Python and their mean
    $numpy $data/eval.py "$1" --windows 24 --json | tr -dc '0-9. ' |
        awk -v name="$(basename "$1")" '{ printf "%-20s %7.3f %7.3f %7.3f %7.3f\n", name, $1, $2, $3, $4 }'
}

echo "merging ..."
printf '\n%-20s %9s %8s %10s %9s   %s\n' "merged" "seconds" "GB/s" "peak MiB" "verified" "recipe" >$out/merges
for recipe in configs/linear.yaml configs/task-arithmetic.yaml; do
    name=$(basename $recipe .yaml)
    $weft merge $recipe $out/$name --json >$out/events
    $weft verify $out/$name >/dev/null
    awk -v name="$name" -v recipe=$recipe -v s="$(field seconds)" -v r="$(field bytes_read)" -v w="$(field bytes_written)" \
        -v rss="$(field peak_rss_bytes)" 'BEGIN {
            printf "%-20s %9.3f %8.2f %10.0f %9s   %s\n", name, s, (r + w) / s / 1e9, rss / 1048576, "yes", recipe
        }' >>$out/merges
done
cat $out/merges

printf '\nHow far each result is from its inputs (relative L2 distance, weft diff):\n'
printf '%-20s %12s %12s %12s %12s\n' "" base python english c
for name in linear task-arithmetic; do
    printf '%-20s' $name
    for model in base python english c; do printf ' %12s' "$(difference $data/$model $out/$name)"; done
    echo
done

if [ -n "$numpy" ]; then
    printf '\nBits per byte of text that no model has seen (lower is better):\n'
    printf '%-20s %7s %7s %7s %7s\n' "" C English Python mean
    for model in $data/{base,python,english,c} $out/{linear,task-arithmetic}; do
        score $model >$out/score-"$(basename $model)" & # side by side: numpy takes seconds
    done
    wait
    cat $out/score-{base,python,english,c,linear,task-arithmetic}
else
    printf '\n(With python3-numpy installed, this also measures how well each model predicts text.)\n'
fi
printf '\nThe merged models are in %s.\n' $out
