# Values of the other flags: counts, choices, device lists, switches.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

for n in 1 2 64 4096; do
    run merge missing.yaml out --threads $n
    expect_usage_error missing.yaml
done
for n in '' 0 00 -1 +1 1.0 2x 2K 2B 4097 99999999999999999999 auto ' 2'; do
    run merge missing.yaml out "--threads=$n"
    expect_usage_error "--threads: '$n' is not a whole number from 1 to 4096"
done

accept()
{
    local flag=$1 word
    shift
    for word in "$@"; do
        run merge missing.yaml out "$flag" "$word"
        expect_usage_error missing.yaml
    done
    for word in '' nonsense "$1x" "${1^^}" " $1" 0; do
        run merge missing.yaml out "$flag=$word"
        expect_usage_error "$flag: '$word' is not one of "
    done
}
accept --backend auto cpu
accept --manifest xxh3 sha256 none
accept --compat weft mergekit
accept --progress auto bar plain none
accept --log-level error warning info debug
accept --io auto buffered direct
run merge missing.yaml out --manifest sha265
expect_usage_error "(did you mean 'sha256'?)"
run merge missing.yaml out --progress=plian
expect_usage_error "(did you mean 'plain'?)"

for list in all 0 0,1 3,2,1,0 12; do
    run merge missing.yaml out --gpus $list --log-level error
    expect_usage_error missing.yaml
done
for list in '' ',' '0,' ',0' 0,,1 0-1 ALL -1 '0 1' 99999 all,0 x; do
    run merge missing.yaml out "--gpus=$list"
    expect_usage_error "--gpus: '$list' is neither 'all' nor device numbers"
done

run diff a b --base=
expect_usage_error '--base: the value is empty'

# A flag without its value: at the end, before another flag, before "--".
for flag in --memory --device-memory --shard-size --threads --backend --gpus --manifest --compat --progress \
    --log-level --io; do
    run merge missing.yaml out $flag
    expect_usage_error "$flag needs a value"
    run merge missing.yaml out $flag --resume
    expect_usage_error "$flag needs a value"
    run merge $flag -- missing.yaml out
    expect_usage_error "$flag needs a value"
done

for flag in --resume --overwrite --null-compute; do
    run merge missing.yaml out $flag=yes
    expect_usage_error "$flag takes no value"
    run merge missing.yaml out $flag=
    expect_usage_error "$flag takes no value"
done
run plan missing.yaml --diffable=1
expect_usage_error '--diffable takes no value'
expect_absent out out.partial
