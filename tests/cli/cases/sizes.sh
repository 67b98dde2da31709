# --memory, --device-memory and --shard-size take sizes and nothing else.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

# Good ones get as far as the recipe, which is not there.
for size in 1 64Mi 64MiB 5GB 5G 16T 1Ki 1KiB 1K 1k 1kB 2Ti 3GiB 8G 18446744073709551615; do
    for flag in --memory --device-memory --shard-size; do
        run merge missing.yaml out $flag $size --log-level error
        expect_usage_error missing.yaml
        run merge missing.yaml out $flag=$size --log-level error
        expect_usage_error missing.yaml
    done
done

for size in '' ' ' 0.5G 1.5 -1 -1G +1 1e9 G GB Mi 5X 5GG 5GiBB 5iB 5ib '5 G' ' 5G' '5G ' 0x10 1,000 \
    nan inf 99999999999999999999X 5P '5G;' half; do
    for flag in --memory --device-memory --shard-size; do
        run merge missing.yaml out "$flag=$size"
        expect_usage_error "$flag: '$size' is not a size"
    done
done

# A size all right, but more than can be counted.
for size in 18446744073709551616 99999999999999999999 18446744073709551615K 16777216Ti 99999999T 99999999TB; do
    for flag in --memory --device-memory --shard-size; do
        run merge missing.yaml out "$flag=$size"
        expect_usage_error "$flag: the size '$size' is too large"
    done
done
run merge missing.yaml out --memory -5
expect_usage_error "--memory: '-5' is not a size"

for size in 0 0G 0KiB 00; do
    for flag in --memory --device-memory --shard-size; do
        run merge missing.yaml out $flag "$size"
        expect_usage_error "$flag: the size must be more than 0"
    done
done
