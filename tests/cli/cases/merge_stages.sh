# Several documents in a recipe are stages: the result is what the documents give one by one, nothing else is left.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

cat >1.doc <<END
merge_method: linear
models:
  - {model: $TINYLM/python, parameters: {weight: 1}}
  - {model: $TINYLM/english, parameters: {weight: 3}}
END
cat >2.doc <<END
merge_method: slerp
base_model: linear
models: [{model: linear}, {model: $TINYLM/c}]
parameters: {t: 0.3}
END
cat >3.doc <<END
merge_method: task_arithmetic
base_model: $TINYLM/base
models:
  - {model: linear, parameters: {weight: 0.5}}
  - {model: {path: second}, parameters: {weight: 0.5}}
END
join() # the stages, in an order that is not theirs
{
    cat 3.doc <(echo '---') <(echo 'name: second') 2.doc <(echo '---') <(echo 'name: linear') 1.doc
}
join >stages.yml

# One by one, into folders of the stages' names.
run merge 1.doc linear
run merge 2.doc second
run merge 3.doc expected
expect_exit 0
mkdir elsewhere && mv linear second elsewhere

run merge stages.yml merged
expect_exit 0
expect_stderr_has "stage 1 of 3: 'linear'"
expect_absent merged.stages merged.partial
[[ $(weights_of merged) == $(weights_of expected) ]] || fail 'other weights than of the documents one by one'
expect_same_file stages.yml merged/weft_recipe.yaml
grep -q '^name: second$' merged/README.md || fail 'the card does not hold the whole recipe'
grep -q '"stages": \[' merged/weft_manifest.json || fail 'the manifest does not tell of the stages'
run verify merged
expect_exit 0

# Of the same plan nothing is made again, though the stages are gone; of another it is refused.
run merge stages.yml merged --resume
expect_exit 0
expect_stderr_has 'already complete'
sed -i 's/t: 0.3/t: 0.4/' 2.doc
join >stages.yml
run merge stages.yml merged --resume
expect_exit 2
expect_stderr_has 'merged is of another plan'
run merge stages.yml merged
expect_usage_error 'merged exists'

# Layers of a stage: how many it has is known before it is made.
slices() # LAST-LAYER
{
    echo 'name: stacked'
    echo 'merge_method: passthrough'
    echo "slices: [{sources: [{model: $TINYLM/c, layer_range: [0, 3]}]}, {sources: [{model: $TINYLM/c, layer_range: [1, 4]}]}]"
    echo '---'
    echo 'merge_method: passthrough'
    echo "slices: [{sources: [{model: stacked, layer_range: [2, $1]}]}]"
}
slices 6 >slices.yml
run merge slices.yml sliced
expect_exit 0
grep -q '"num_hidden_layers": 4' sliced/config.json || fail 'config.json has another number of layers'
slices 7 >slices.yml
run merge slices.yml other
expect_usage_error 'stacked has 6 layers'
expect_absent other.stages

# weft plan shows every stage and writes nothing.
run plan stages.yml
expect_exit 0
for line in 'stage       1 of 3: linear' 'stage       2 of 3: second' 'stage       3 of 3' 'base     linear'; do
    expect_stdout_has "$line"
done
expect_absent OUT.stages
run plan stages.yml --json
expect_json_lines stdout
[[ $(grep -c '"event":"stage"' stdout) -eq 3 ]] || fail 'not three stages in the plan'
run merge stages.yml events --json
expect_exit 0
expect_json_lines stdout
[[ $(grep -c '"event":"done"' stdout) -eq 1 && $(grep -c '"event":"stage_done"' stdout) -eq 2 ]] ||
    fail 'events do not tell stages from the result'

# What does not fit is found before anything is written, also when only a later stage shows it.
make_model other 4
# refused TEXT: with the recipe bad.yml
refused()
{
    run merge bad.yml bad
    expect_usage_error "$1"
    expect_absent bad bad.partial bad.stages
    run plan bad.yml
    expect_exit 2
}
{
    echo 'name: small'
    printf 'merge_method: passthrough\nmodels: [{model: other}]\n---\n'
    printf 'merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: %s}, {model: small}]\nallow_mixed: true\n' "$TINYLM/c"
} >bad.yml
refused 'small'
sed 's/base_model: linear/base_model: liner/; s/{model: linear}, {/{/' stages.yml >bad.yml
refused "bad.yml:9: no model 'liner'"
sed 's/dtype: .*//; s/merge_method: slerp/merge_method: slrep/' stages.yml >bad.yml
refused "did you mean 'slerp'?"
{
    cat stages.yml
    echo '---'
    cat 1.doc
} >bad.yml
refused "a second document without a 'name'"
sed 's/base_model: linear/base_model: second/; s/{model: linear}, {/{/' stages.yml >bad.yml
refused "bad.yml:9: the stage 'second' names itself as a model"

# A stage that fails leaves what was finished; --resume makes only the rest.
cp -r "$TINYLM/c" damaged
sed "s,$TINYLM/c,damaged," 2.doc >2.damaged
{
    cat 3.doc <(echo '---') <(echo 'name: second') 2.damaged <(echo '---') <(echo 'name: linear') 1.doc
} >damaged.yml
weights=damaged/model.safetensors
# The last value becomes NaN: a stage's first pass finds it.
size=$(stat -c %s $weights)
dd if=$weights of=tail bs=1 skip=$((size - 2)) 2>/dev/null
printf '\300\177' | dd of=$weights bs=1 seek=$((size - 2)) conv=notrunc 2>/dev/null
touch -d @1000000000 $weights
run merge damaged.yml redone
expect_exit 3
expect_stderr_has 'redone.stages; --resume goes on'
expect_absent redone
[[ -f redone.stages/linear/model.safetensors ]] || fail 'the finished stage is gone'
run merge damaged.yml redone
expect_exit 2
expect_stderr_has 'redone.stages is there from an earlier run'
dd if=tail of=$weights bs=1 seek=$((size - 2)) conv=notrunc 2>/dev/null
touch -d @1000000000 $weights
before=$(stat -c %i redone.stages/linear/model.safetensors)
cp -r redone.stages kept
run merge damaged.yml redone --resume
expect_exit 0
expect_stderr_has "stage 1 of 3: 'linear', which is finished already"
expect_absent redone.stages
[[ $(weights_of redone) == $(weights_of events) ]] || fail 'other weights after --resume'

# What a run left that died between its publication and the end is named, and left alone.
cp -r kept redone.stages
run merge damaged.yml redone --resume
expect_exit 0
expect_stderr_has 'redone.stages is there as well and of no use'
expect_stderr_has 'already complete'
rm -r redone.stages

# --overwrite starts anew, and a stage of another plan is not taken for a finished one.
cp -r kept redone.stages
run merge damaged.yml redone --overwrite
expect_exit 0
grep -q 'finished already' stderr && fail 'a stage of the earlier run was used'
expect_absent redone.stages
sed 's/weight: 3/weight: 4/' damaged.yml >changed.yml
cp -r kept third.stages
run merge changed.yml third --resume
expect_exit 2
expect_stderr_has 'third.stages/linear is of another plan'
[[ -d third.stages/linear ]] || fail 'a stage was removed'
echo mine >third.stages/notes
run merge damaged.yml third --resume
expect_exit 0
expect_stderr_has 'third.stages: cannot remove'
[[ $(cat third.stages/notes) == mine ]] || fail 'a file that is not ours is gone'
ln -s "$WEFT" weft-yaml
./weft-yaml changed.yml redone 2>stderr || fail 'weft-yaml does not take stages'
expect_absent redone.stages
touch file.stages
run merge stages.yml file
expect_usage_error 'file.stages exists and is not a folder'

# Task deltas and components belong to the result; a search takes no stages.
sed '1i task_deltas: {density: 0.1}' stages.yml >deltas.yml
run merge deltas.yml deltas
expect_exit 0
[[ -f deltas/deltas/second.safetensors && -f deltas/deltas/linear.safetensors ]] || fail 'no task deltas of the stages'
run apply deltas deltas/deltas/second.safetensors applied
expect_exit 0
{
    echo 'name: base'
    printf 'merge_method: passthrough\nmodels: [{model: %s}]\n---\n' "$TINYLM/base"
    printf 'merge_method: pcb\nbase_model: base\nmodels: [{model: %s}, {model: %s}]\n' "$TINYLM/c" "$TINYLM/python"
} >pcb.yml
run merge pcb.yml pcb
expect_exit 0
run merge pcb.yml components --emit-components
expect_usage_error "--emit-components needs a base that stays, and 'base' is a stage"
sed -i "s,base_model: base,base_model: $TINYLM/base,; s,model: $TINYLM/c},model: base}," pcb.yml
run merge pcb.yml components --emit-components
expect_exit 0
[[ -d components/components ]] || fail 'no components'
run search stages.yml --fitness true --budget 2 --out searched
expect_exit 2
expect_stderr_has "stages are for 'weft merge' and 'weft plan'"
