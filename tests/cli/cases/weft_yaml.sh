# weft-yaml takes mergekit-yaml's command lines: flags mapped, flags ignored in a line each, OUT replaced with care.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

WEFT_PLAIN=$WEFT
# A base with the files of a tokenizer and the others of a folder.
cp -r "$TINYLM/base" base
echo '{"version": "1.0"}' >base/tokenizer.json
echo '{}' >base/tokenizer_config.json
echo '{{ messages }} in words' >base/chat_template.jinja
echo '{"eos_token_id": 1}' >base/generation_config.json
echo '{"image_size": 4}' >base/preprocessor_config.json
echo 'class Model: pass' >base/modeling_tiny.py
ln -s "$WEFT" weft-yaml
WEFT=$PWD/weft-yaml
cat >config.yml <<END
merge_method: dare_linear
base_model: base
models:
  - model: $TINYLM/python
    parameters: {weight: 0.5, density: 0.5, dnsity: 3}
END

# A typical line; the misspelled parameter is a warning, as under --compat mergekit.
run config.yml merged --cuda --lazy-unpickle --copy-tokenizer --trust-remote-code -j2 --random-seed 5 --out-shard-size 500K
expect_exit 0
expect_stderr_has "unknown parameter 'dnsity'"
expect_stderr_has '--lazy-unpickle is ignored:'
expect_stderr_has '--trust-remote-code is ignored:'
[[ $(grep -c 'is ignored:' stderr) -eq 2 ]] || fail 'other lines about ignored flags than the two'
grep -q '"seed": 5,' merged/weft_manifest.json || fail 'the seed is not 5'
grep -q '"compat": "mergekit"' merged/weft_manifest.json || fail 'not under --compat mergekit'
[[ -f merged/model.safetensors.index.json && -f merged/tokenizer.json && -f merged/README.md ]] || fail 'files are missing'
grep -q '"shard_size": 500000,' merged/weft_manifest.json || fail 'the shard size is not 500000'
expect_same_file config.yml merged/mergekit_config.yml
for file in modeling_tiny.py preprocessor_config.json generation_config.json chat_template.jinja; do
    expect_same_file base/$file merged/$file
done
grep -qx -e '- mergekit' merged/README.md || fail 'the card lacks the tag'
for line in 'library_name: transformers' 'base_model_relation: merge' '- merge'; do
    grep -qx -e "$line" merged/README.md || fail "the card lacks $line"
done
grep -q '"total_size": 1607936' merged/model.safetensors.index.json || fail 'the index has another total_size'
"$WEFT_PLAIN" verify merged >stdout || fail 'the result does not verify'
seeded=$(weights_of merged)

# Every flag of mergekit-yaml is known, both forms of a switch, and each ignored one says so once.
run config.yml all --allow-crimes --transformers-cache "$PWD" --lora-merge-cache x --lora-merge-dtype float32 --cuda \
    --device auto --low-cpu-memory --out-shard-size 5B --copy-tokenizer --clone-tensors --trust-remote-code \
    --random-seed 5 --lazy-unpickle --write-model-card --safe-serialization -v --quiet --read-to-gpu --multi-gpu \
    --num-threads 2 --gpu-rich --async-write --write-threads 3
expect_exit 0
[[ $(grep -c 'is ignored:' stderr) -eq 9 ]] || fail 'not nine flags are ignored'
[[ $(weights_of all | wc -c) -gt 1 ]] || fail 'no weights'
run config.yml none --no-allow-crimes --no-cuda --no-low-cpu-memory --no-copy-tokenizer --no-clone-tensors \
    --no-trust-remote-code --no-lazy-unpickle --no-write-model-card --no-safe-serialization --no-quiet \
    --no-read-to-gpu --no-multi-gpu --no-gpu-rich --no-async-write -vv --random-seed=5
expect_exit 0
[[ $(grep -c 'is ignored:' stderr) -eq 1 ]] || fail 'not one flag is ignored'
expect_stderr_has '--no-safe-serialization is ignored:'
expect_absent none/README.md none/tokenizer.json none/tokenizer_config.json none/chat_template.jinja
for file in config generation_config preprocessor_config; do
    [[ -f none/$file.json ]] || fail "$file.json is left out with the tokenizer"
done

# The seed is lent: a recipe's own wins.
(cat config.yml && echo 'seed: 9') >seeded.yml
run seeded.yml own --random-seed 5
grep -q '"seed": 9,' own/weft_manifest.json || fail "the recipe's seed is not 9"
run seeded.yml other --random-seed 6
[[ $(weights_of own) == "$(weights_of other)" ]] || fail 'the seed of the line changes a seeded recipe'
run config.yml drawn --random-seed 6 --out-shard-size 500K
[[ $(weights_of drawn) != "$seeded" ]] || fail 'the seed of the line changes nothing'

# OUT is replaced where only a merge is lost.
run config.yml merged
expect_exit 0
[[ ! -e merged/model.safetensors.index.json ]] || fail 'OUT is still the old one'
echo mine >merged/notes.txt
run config.yml merged
expect_exit 2
expect_stderr_has "holds 'notes.txt', which weft did not write"
[[ -s merged/notes.txt && -s merged/model.safetensors ]] || fail 'OUT was touched'
run config.yml merged --overwrite
expect_exit 0
expect_absent merged/notes.txt
mkdir empty theirs other_folder
run config.yml empty
expect_exit 0
touch theirs/{mergekit_config.yml,model-00001-of-00001.safetensors,config.json,tokenizer.model}
run config.yml theirs
expect_exit 0
expect_absent theirs/model-00001-of-00001.safetensors
touch other_folder/config.json
run config.yml other_folder
expect_exit 2
expect_stderr_has "is no merge of weft's or mergekit's"
mkdir partial partial/weft && echo '{' >partial/weft_manifest.json
run config.yml partial
expect_exit 2
expect_stderr_has 'cannot be read'

# A link is nobody's merge, wherever it leads; --overwrite takes its place and leaves alone where it leads.
mkdir behind linked && cp -r all merge_behind && touch behind_file
for behind in behind merge_behind linked; do
    ln -s $behind link
    [[ $behind != linked ]] || touch linked/notes.txt
    for out in link ./link/; do
        run config.yml $out
        expect_exit 2
        expect_stderr_has 'link exists and is a link; --overwrite replaces it'
        [[ $(grep -c ' error: ' stderr) -eq 1 ]] || fail 'not one line of error'
        [[ $(readlink link) == "$behind" ]] || fail 'the link was touched'
    done
    expect_absent link.partial
    rm link
done
[[ -z $(ls behind) ]] || fail 'something was put where the link leads'
ln -s linked link
run config.yml link --overwrite
expect_exit 0
[[ ! -L link && -f link/model.safetensors && -f linked/notes.txt ]] || fail 'not the link was replaced'
for behind in behind_file nowhere; do
    ln -s $behind not_folder
    run config.yml not_folder --overwrite
    expect_exit 2
    expect_stderr_has 'not_folder exists and is not a folder'
    [[ -L not_folder ]] || fail 'the link was replaced'
    rm not_folder
done
mv merge_behind/config.json elsewhere.json && ln -s ../elsewhere.json merge_behind/config.json
run config.yml merge_behind
expect_exit 2
expect_stderr_has "holds 'config.json', which weft did not write"

# What an earlier run left in OUT.partial is no reason to stop.
mkdir left.partial && echo x >left.partial/weft.journal
run config.yml left
expect_exit 0
expect_absent left.partial

# Wrong lines.
sed -i 's/, dnsity: 3//' config.yml
run
expect_usage_error 'weft-yaml needs CONFIG; usage: weft-yaml CONFIG OUT'
run config.yml
expect_usage_error 'weft-yaml needs OUT'
run config.yml new --lazy-unpickel
expect_usage_error "weft-yaml has no flag '--lazy-unpickel' (did you mean '--lazy-unpickle'?)"
sed 's/weight: 0.5/weight: 0.5, dnsity: 3/' config.yml >misspelled.yml
run misspelled.yml new --compat weft
expect_usage_error "unknown parameter 'dnsity'"
run config.yml new --cuda=yes
expect_usage_error '--cuda takes no value'
run config.yml new --out-shard-size
expect_usage_error '--out-shard-size needs a value'
for size in 0 5X B -1 99999999999B 1.5B ''; do
    run config.yml new --out-shard-size="$size"
    expect_usage_error "--out-shard-size: '$size' is not a size"
done
for device in mps cuda: cuda:x cuda:99999 ''; do
    run config.yml new --device="$device"
    expect_usage_error '--device: weft computes on cpu and cuda'
done
run config.yml new --device cdua
expect_usage_error "(did you mean 'cuda'?)"
for n in 0 x 1.5 4097; do
    run config.yml new -j "$n"
    expect_usage_error "--num-threads: '$n' is not a whole number"
done
run config.yml new --random-seed -1
expect_usage_error "--random-seed: '-1' is not a whole number"
run config.yml new extra
expect_usage_error "'extra' is one argument too many; usage: weft-yaml CONFIG OUT"
expect_absent new new.partial

# --device by name and number; --transformers-cache is the hub cache.
run config.yml on_cpu --device cpu
expect_exit 0
commit=0123456789012345678901234567890123456789
mkdir -p cache/models--org--name/{refs,snapshots/$commit}
sed 's,^base_model: .*,base_model: org/name,' config.yml >hub.yml
run hub.yml cached --transformers-cache cache
expect_exit 2
printf %s $commit >cache/models--org--name/refs/main
cp base/* cache/models--org--name/snapshots/$commit
run hub.yml cached --transformers-cache cache
expect_exit 0
run hub.yml cached --transformers-cache=cache
expect_exit 0

# --resume is weft merge's: what is complete is left, and another plan refused. Without it OUT is replaced.
run seeded.yml on_cpu --resume
expect_exit 2
expect_stderr_has 'on_cpu is of another plan: the recipe differs'
run config.yml on_cpu --resume --device cpu
expect_exit 0
expect_stderr_has 'nothing was done'

# OUT.partial that weft did not make is left alone, unless --resume says to go on: without a journal that starts over.
mkdir foreign.partial
echo x >foreign.partial/mine
run config.yml foreign
expect_exit 2
expect_stderr_has "foreign.partial holds 'mine' and no journal of weft's"
WEFT=$WEFT_PLAIN
run merge config.yml foreign --compat mergekit
expect_exit 2
[[ $(cat foreign.partial/mine) == x ]] || fail "foreign.partial was emptied"
run merge config.yml foreign --resume --compat mergekit
expect_exit 0
mkdir empty.partial
WEFT=$PWD/weft-yaml
run config.yml empty
expect_exit 0

# What --quiet leaves are warnings.
run config.yml empty --quiet
expect_exit 0
[[ $(grep -vc '^weft: warning: ' stderr) -eq 0 ]] || fail '--quiet says more'

# Help, and the name as a word is no command.
run --help
expect_exit 0
for flag in --allow-crimes --write-threads '-j, --num-threads N' --memory; do
    expect_stdout_has "$flag"
done
WEFT=$WEFT_PLAIN
run weft-yaml a b
expect_usage_error "unknown command 'weft-yaml'"
