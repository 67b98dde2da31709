# merge --emit-components and combine: the merge's own factors give the merge's bytes; what is missing, unknown
# or given twice is refused.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

recipe() { # [LINES]
    cat >recipe.yaml <<END
merge_method: pcb
base_model: $TINYLM/base
models:
  - model: $TINYLM/python
  - {model: $TINYLM/english, name: prose, parameters: {weight: 0.7}}
  - model: $TINYLM/c
parameters: {density: 0.1, lambda: 1.2${1-}}
${2-}
END
}
factors='--weight python=1.2 --weight prose=0.84 --weight c=1.2'

for variant in paper code code-vision-es; do
    recipe ", variant: $variant"
    run merge recipe.yaml alone --overwrite
    expect_exit 0
    run merge recipe.yaml merged --emit-components --overwrite
    expect_exit 0
    [[ $(weights_of merged) == "$(weights_of alone)" ]] || fail "$variant: components change the model"
    run verify merged
    expect_exit 0
    run merge recipe.yaml small --emit-components --threads 3 --memory 32Mi --overwrite
    expect_exit 0
    for task in python prose c; do
        expect_same_file "merged/components/$task.safetensors" "small/components/$task.safetensors"
    done
    # shellcheck disable=SC2086
    run combine merged combined $factors --overwrite
    expect_exit 0
    [[ $(weights_of combined) == "$(weights_of merged)" ]] || fail "$variant: combined to other bytes"
done
run verify combined
expect_exit 0
run inspect merged/components/c.safetensors
expect_exit 0
expect_stdout_has 'component'

# Other factors are what the merge makes with them; another type is the merge's type.
recipe '' 'dtype: float32'
run merge recipe.yaml wide --emit-components
expect_exit 0
run combine wide half --weight c=0.5 --weight python=-0.25 --weight prose=0
expect_exit 0
sed -i 's/weight: 0.7/weight: 0/; s/lambda: 1.2/lambda: 1/' recipe.yaml
sed -i "s|  - model: $TINYLM/python|  - {model: $TINYLM/python, parameters: {weight: -0.25}}|" recipe.yaml
sed -i "s|  - model: $TINYLM/c\$|  - {model: $TINYLM/c, parameters: {weight: 0.5}}|" recipe.yaml
run merge recipe.yaml wanted
expect_exit 0
[[ $(weights_of half) == "$(weights_of wanted)" ]] || fail 'other factors: other bytes'

# A base that has moved is given by hand.
mkdir moved
cp -r "$TINYLM/base" moved/base
# shellcheck disable=SC2086
run combine wide moved/out --base moved/base $factors
expect_exit 0

# shellcheck disable=SC2086
run combine merged other $factors --weight c=1
expect_usage_error "task 'c' is given twice"
run combine merged other --weight pyton=1
expect_usage_error "no component of a task 'pyton' (did you mean 'python'?)"
run combine merged other --weight python=1 --weight c=1
expect_usage_error "task 'prose' has no weight"
run combine merged other --weight python
expect_usage_error "'python' is not TASK=NUMBER"
run combine merged other --weight python=nan
expect_usage_error "'python=nan' is not TASK=NUMBER"
# shellcheck disable=SC2086
run combine alone other $factors
expect_usage_error 'alone was made without components'
# shellcheck disable=SC2086
run combine "$TINYLM/base" other $factors
expect_usage_error 'weft_manifest.json'
expect_absent other other.partial

# Only sums of parts have components.
sed "s/pcb/ties/; s/lambda: 1/weight: 1/" recipe.yaml >ties.yaml
sed -i '/^parameters/d' ties.yaml
sed -i "s|name: prose, parameters: {weight: 0}|name: prose, parameters: {weight: 1}|" ties.yaml
run merge ties.yaml ties --emit-components
expect_usage_error "merge_method 'ties' is not a sum of its models' components"
expect_absent ties ties.partial
printf 'merge_method: byom_lora\nparameters: {rank: 2}\nmodels: [model: %s]\n' "$TINYLM/c-lora" >byom.yaml
run merge byom.yaml byom --emit-components
expect_usage_error "byom.yaml:1: --emit-components: merge_method 'byom_lora' is not a sum"
expect_absent byom byom.partial

# A damaged component is found.
printf x | dd of=merged/components/c.safetensors bs=1 seek=9 conv=notrunc status=none
# shellcheck disable=SC2086
run combine merged other $factors
expect_exit 3
expect_one_error_line
expect_absent other other.partial

# What they take is in the plan, and in what the merge says that it wrote.
run plan recipe.yaml --emit-components
expect_stdout_has 'components  about '
run plan recipe.yaml --emit-components --json
about=$(sed -n 's/.*"components_bytes_about":\([0-9]*\).*/\1/p' stdout)
run merge recipe.yaml counted --emit-components --json
written=$(sed -n 's/.*"event":"done".*"bytes_written":\([0-9]*\).*/\1/p' stdout)
shards=$(cat counted/model*.safetensors | wc -c)
parts=$(cat counted/components/* | wc -c)
((written >= parts + shards * 9 / 10)) || fail "$written bytes written, of $shards and $parts"
((about * 2 > parts && about < parts * 2)) || fail "$about bytes planned, and $parts made"
