# The templates for schedulers: well-formed, and every flag and exit code in them is weft's.
source "$(dirname "$0")/../lib.sh"
job=$ROOT/configs/kubernetes/merge-job.yaml

# As YAML it is fine for the parser of recipes, which stops at the first key that is no recipe's.
run plan "$job"
expect_exit 2
expect_one_error_line
expect_stderr_has "unknown key 'apiVersion'"
python=''
for name in python3 /usr/bin/python3; do
    "$name" -c 'import yaml' 2>/dev/null && python=$name
done
if [[ $python ]]; then
    "$python" - "$job" <<'PYTHON' >arguments || fail 'the job is not as Kubernetes wants it'
import sys, yaml
job = yaml.safe_load(open(sys.argv[1], encoding="utf-8"))
assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
spec = job["spec"]
pod = spec["template"]["spec"]
assert pod["restartPolicy"] == "Never"  # what podFailurePolicy asks for
assert spec["completions"] == spec["parallelism"]
(container,) = pod["containers"]
env = {e["name"]: e for e in container["env"]}
assert int(env["WEFT_RANKS"]["value"]) == spec["completions"]
mounted = {m["name"] for m in container["volumeMounts"]}
assert mounted == {v["name"] for v in pod["volumes"]}
codes = {code: rule["action"] for rule in spec["podFailurePolicy"]["rules"] if "onExitCodes" in rule
         for code in rule["onExitCodes"]["values"]}
assert codes == {75: "Ignore", 2: "FailJob", 3: "FailJob", 5: "FailJob"}, codes
for rule in spec["podFailurePolicy"]["rules"]:
    assert rule.get("onExitCodes", {}).get("containerName", container["name"]) == container["name"]
print("\n".join(container["command"][2:]))
PYTHON
    grep -o '^--[a-z-]*' arguments >used
fi

for template in "$ROOT"/configs/slurm/*.sbatch; do
    bash -n "$template" || fail "$template is no script"
    # shellcheck disable=SC2016
    sed -n '/"$weft" merge/p' "$template" | grep -o -e ' --[a-z-]*' | tr -d ' ' >>used
    for option in requeue open-mode=append signal=B:USR1@120; do
        grep -q "^#SBATCH --$option$" "$template" || fail "$template lacks #SBATCH --$option"
    done
done
flags_of_help merge >known
sort -u used | comm -23 - known >unknown
[[ -s used && ! -s unknown ]] || fail "flags that weft merge does not have: $(tr '\n' ' ' <unknown)"
