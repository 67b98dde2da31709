# --trace: a timeline of every stage, whole however the merge ends, in no place where it does harm; and what --json and
# the last lines say of the same.
# shellcheck source=tests/cli/lib.sh disable=SC2154
. "$ROOT/tests/cli/lib.sh"

command -v python3 >/dev/null || skip 'there is no python3'
for model in base python english; do
    cp -r "$TINYLM/$model" $model
done

# expect_trace FILE NAME...: an array of events, spans that have a length, and one of each NAME at least.
expect_trace()
{
    python3 - "$@" <<'PYTHON' || fail "$1 is not as it should be"
import collections, json, sys
events = json.load(open(sys.argv[1], encoding="utf-8"))
assert isinstance(events, list)
tracks = {e["tid"] for e in events if e["name"] == "thread_name"}
spans = [e for e in events if e["ph"] == "X"]
for e in spans:
    assert e["pid"] == 0 and e["tid"] in tracks and e["dur"] >= 0 and e["ts"] > 1.6e15, e
by_track = collections.defaultdict(list)
for e in spans:
    by_track[e["tid"]].append((e["ts"], -e["dur"]))
for track in by_track.values(): # they nest or follow each other
    ends = []
    for begin, minus in sorted(track):
        while ends and ends[-1] <= begin:
            ends.pop()
        assert not ends or begin - minus <= ends[-1], (begin, minus)
        ends.append(begin - minus)
names = {e["name"] for e in events}
missing = set(sys.argv[2:]) - names
assert not missing, missing
for e in spans:
    if e["name"] in ("read", "write", "hash"):
        assert e["args"]["bytes"] > 0 and e["args"]["tensor"], e
PYTHON
}

cat >recipe.yaml <<'END'
merge_method: ties
base_model: base
models:
  - {model: python, parameters: {weight: 0.4, density: 0.3}}
  - {model: english, parameters: {weight: 0.4, density: 0.3}}
parameters: {scope: model}
task_deltas: {density: 0.1}
END
all=(read write hash map sync journal plan statistics count deltas publish 'side files' manifest rename 'bytes read'
    'bytes written')
run merge recipe.yaml out --trace timeline.json
expect_exit 0
expect_trace timeline.json "${all[@]}"
expect_stderr_has 'weft: planning '
expect_stderr_has '; bound by '
[[ $(tail -1 stderr) == 'weft: merged 39 tensors '* ]] || fail 'the sentence about the merge is not last'
for io in buffered direct; do
    run merge recipe.yaml out-$io --trace=timeline.json --io $io --memory 64Mi
    expect_exit 0
    expect_trace timeline.json "${all[@]}"
    [[ $(weights_of out) == $(weights_of out-$io) ]] || fail 'other bytes with a trace'
done

# The same as events.
run merge recipe.yaml events --json --trace timeline.json
expect_exit 0
expect_stderr_empty
expect_json_lines stdout
python3 - stdout <<'PYTHON' || fail 'events are not as they should be'
import json, sys
events = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
assert all(e["rank"] == 0 for e in events)
open_stage, seen = None, []
for e in (e for e in events if e["event"] == "phase"):
    if e["state"] == "begin":
        assert open_stage is None
        open_stage = (e["stage"], e.get("step"))
    else:
        assert open_stage in (None, (e["stage"], e.get("step"))) and e["seconds"] >= 0
        assert open_stage or e["stage"] == "plan"
        open_stage = None
        seen.append(e)
names = [e["stage"] for e in seen]
assert [n for i, n in enumerate(names) if names[i - 1:i] != [n]] == ["plan", "statistics", "map", "deltas", "publish"]
done = events[-1]
assert done["event"] == "done" and done["bound_by"]
assert sum(e["bytes_read"] for e in seen) == done["bytes_read"]
assert sum(e["bytes_written"] for e in seen) == done["bytes_written"]
for stage, seconds in done["stages"].items():
    assert abs(seconds - sum(e["seconds"] for e in seen if e["stage"] == stage)) < 1e-4
assert sum(done["stages"].values()) <= done["seconds"] * 1.01
assert all(0 <= share <= 1.01 for share in done["threads"].values())
PYTHON

# Other commands; a chain is one trace.
run apply out out/deltas/python.safetensors applied --trace timeline.json
expect_exit 0
expect_trace timeline.json read map write publish
run merge "$ROOT/configs/stages.yaml" chain --trace timeline.json
expect_exit 0
expect_trace timeline.json read map write publish
[[ $(grep -c '"name":"rename"' timeline.json) -eq 3 ]] || fail 'not all stages are in the trace'
printf 'merge_method: pcb\nbase_model: base\nmodels: [model: python, model: english]\n' >pcb.yaml
run merge pcb.yaml pcb --emit-components --trace timeline.json
expect_exit 0
expect_trace timeline.json components
run combine pcb combined --weight python=0.1 --weight english=1 --trace timeline.json
expect_exit 0
expect_trace timeline.json read map write publish
cat >byom.yaml <<'END'
merge_method: byom_lora
models: [model: nowhere]
parameters: {rank: 4}
END
run merge byom.yaml byom --trace untouched.json
expect_exit 2
expect_absent untouched.json byom

# Each process of a merge has a file of its own, and says in every event which it is.
for rank in 1 0; do
    WEFT_RANK=$rank WEFT_RANKS=2 "$WEFT" merge "$ROOT/configs/linear.yaml" ranks --trace rank.json --json >events.$rank \
        2>stderr.$rank </dev/null &
done
last='weft merge, 2 ranks'
wait
for rank in 0 1; do
    expect_json_lines events.$rank
    [[ $(grep -c "\"rank\":$rank}" events.$rank) -eq $(wc -l <events.$rank) ]] || fail "not all events are of rank $rank"
    grep -q '"stage":"ranks"' events.$rank || fail "rank $rank never waited for the other"
    python3 -c "import json; assert {e['pid'] for e in json.load(open('rank.$rank.json'))} == {$rank}" ||
        fail "rank.$rank.json is not of rank $rank"
done
expect_absent rank.json

# Where it would do harm.
echo '{"*": {"python": 0.5, "english": 0.5}}' >table.json
sed -e '/task_deltas/d' -e 's/weight: 0.4, //' recipe.yaml >with_table.yaml
echo 'coefficients: table.json' >>with_table.yaml
mkdir kept-recipe
cp with_table.yaml table.json kept-recipe
ln -s base linked
for file in new new/t.json new.partial/t.json new.stages/t.json ./new/../new/t.json with_table.yaml ./with_table.yaml \
    table.json base/t.json linked/t.json base/model-00001-of-00002.safetensors base/config.json; do
    run merge with_table.yaml new --trace $file
    expect_usage_error "--trace: $file"
    expect_absent new new.partial base/t.json
done
expect_same_file with_table.yaml kept-recipe/with_table.yaml
expect_same_file table.json kept-recipe/table.json
expect_same_file base/config.json "$TINYLM/base/config.json"
run merge recipe.yaml new --trace ''
expect_usage_error --trace
for file in nowhere/t.json /dev/null python/; do
    run merge recipe.yaml new --trace $file
    expect_exit 4
    expect_one_error_line
    expect_stderr_has " $file"
    expect_absent new new.partial
done

# A merge that fails, and one that is stopped.
cp -r python damaged
printf '\377\377\377\377' | dd of=damaged/model-00001-of-00002.safetensors bs=1 seek=500000 conv=notrunc 2>/dev/null
sed -e 's/model: python/model: damaged/' -e '/scope/d' -e '/task_deltas/d' recipe.yaml >damaged.yaml
rm timeline.json
run merge damaged.yaml new --trace timeline.json
expect_exit 3
expect_trace timeline.json read plan map
for model in a b; do
    make_model $model 40000000
done
printf 'merge_method: linear\nparameters: {weight: 1}\nmodels: [model: a, model: b]\n' >large.yaml
for delay in 0.1 0.05 0.02 0.2 0.01; do
    last="weft merge, TERM after $delay s"
    rm -rf stopped stopped.partial timeline.json
    "$WEFT" merge large.yaml stopped --memory 64Mi --threads 1 --trace timeline.json >stdout 2>stderr </dev/null &
    merge=$!
    for ((i = 0; i < 500; i++)); do
        [[ -e stopped.partial ]] && break
        sleep 0.002
    done
    sleep $delay
    kill -TERM $merge 2>/dev/null
    wait $merge
    status=$?
    [[ $status -eq 0 ]] || break
done
expect_exit 75
expect_trace timeline.json plan map
