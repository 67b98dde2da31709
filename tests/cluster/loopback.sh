# loopback.sh - a Slurm of several nodes on this machine, for as long as a suite runs. Sourced after suite.sh.
#
# slurmctld and one slurmd for each node listen on 127.0.0.1 and keep everything in one folder of $SCRATCH: no munge,
# no systemd, nothing in /etc. A user other than root runs jobs as that user. All nodes are one machine and share its
# name; n1, n2, ... are told apart by SLURMD_NODENAME. They claim more processors and memory than there are, so that
# the templates of configs/slurm fit, and two GPUs each where $slurm_dir/gres.conf exists.
#
#   slurm_up NODES            0 when all nodes are idle; else 1, with the reason in $slurm_why
#   slurm_down                stops it, and whatever it started; also called when the suite ends
#   slurm_wait SECONDS CONDITION...   until the command succeeds; 1 when the time is over
#   job_field JOB FIELD       of scontrol show job, as JobState or Reason
#
# shellcheck shell=bash
slurm_dir='' slurm_why='' slurm_guarded=''

slurm_port() { # COUNT: the first of so many ports in a row on which nobody listens
    local port i
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        port=$((20000 + (RANDOM * 3 + $$) % 10000))
        for ((i = 0; i < $1; i++)); do
            # shellcheck disable=SC2188
            (: <>"/dev/tcp/127.0.0.1/$((port + i))") 2>/dev/null && continue 2
        done
        echo "$port"
        return
    done
}

# cred_expire is what a requeued job waits before it starts again. linuxproc, task/none and jobacct_gather/none
# do without cgroups, which a container may not have.
slurm_conf() { # NODES PORT
    local host user gpus='' i
    host=$(uname -n) host=${host%%.*} user=$(id -un)
    cat <<CONF
ClusterName=weft
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort=$2
SlurmctldPidFile=$slurm_dir/slurmctld.pid
SlurmctldLogFile=$slurm_dir/slurmctld.log
StateSaveLocation=$slurm_dir/state
SlurmdPidFile=$slurm_dir/slurmd-%n.pid
SlurmdLogFile=$slurm_dir/slurmd-%n.log
SlurmdSpoolDir=$slurm_dir/spool-%n
SlurmdParameters=config_overrides
TmpFS=$slurm_dir/tmp-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=1
KillWait=2
SlurmdTimeout=10
MessageTimeout=10
JobRequeue=1
PartitionName=all Nodes=n[1-$1] Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
CONF
    [ ! -e "$slurm_dir/gres.conf" ] || { gpus=Gres=gpu:2; echo "GresTypes=gpu"; }
    for ((i = 1; i <= $1; i++)); do
        echo "NodeName=n$i NodeHostname=$host NodeAddr=127.0.0.1 Port=$(($2 + i)) CPUs=64 Boards=1" \
            "SocketsPerBoard=1 CoresPerSocket=64 ThreadsPerCore=1 RealMemory=1000000 $gpus State=UNKNOWN"
    done
}

# Two devices for each node, which are nothing but names: enough for Slurm to bind tasks to them. Only root may make any.
slurm_gpus() {
    local i
    for i in 0 1; do mknod "$slurm_dir/gpu$i" c 1 3 2>/dev/null || return; done
    echo "NodeName=n[1-64] Name=gpu File=$slurm_dir/gpu[0-1]" >"$slurm_dir/gres.conf"
}

slurm_start() { # NODES
    local port i
    port=$(slurm_port $(($1 + 1)))
    [ -n "$port" ] || { slurm_why="no free ports"; return 1; }
    rm -rf "$slurm_dir"
    mkdir -p "$slurm_dir/state"
    slurm_gpus
    slurm_conf "$1" "$port" >"$slurm_dir/slurm.conf"
    slurm_why=$(slurmctld -c 2>&1) || return 1
    for ((i = 1; i <= $1; i++)); do
        mkdir -p "$slurm_dir/spool-n$i" "$slurm_dir/tmp-n$i"
        slurm_why=$(slurmd -N "n$i" 2>&1) || return 1
    done
    slurm_why="the nodes are not idle after 20 s"
    slurm_wait 20 slurm_is_idle "$1"
}

slurm_is_idle() { [ "$(sinfo -h -o '%T %D' 2>/dev/null)" = "idle $1" ]; }

slurm_up() { # NODES
    local program
    PATH=$PATH:/usr/sbin:/sbin
    for program in slurmctld slurmd srun sbatch scontrol squeue sinfo scancel; do
        command -v $program >/dev/null || { slurm_why="$program is not installed"; return 1; }
    done
    [ -z "$slurm_dir" ] || slurm_down
    slurm_dir=$SCRATCH/slurm
    export SLURM_CONF=$slurm_dir/slurm.conf
    [ -n "$slurm_guarded" ] || slurm_guard &
    slurm_guarded=yes
    for _ in 1 2 3; do # another program may take a port that was free
        slurm_start "$1" && return
        slurm_stop "$slurm_dir"
    done
    slurm_why+=": $(grep -h -m 2 -E 'fatal|error' "$slurm_dir"/*.log 2>/dev/null | tr '\n' ' ')"
    return 1
}

# A suite that is killed with SIGKILL cannot clean up: this process, in a session of its own, waits for its end.
slurm_guard() {
    exec env -u SLURM_CONF setsid bash -c '
        while kill -0 "$1" 2>/dev/null && [ -d "$3" ]; do sleep 1; done
        eval "$2"
        slurm_stop "$3/slurm"
        rm -rf "$3"
    ' guard $$ "$(declare -f slurm_stop slurm_processes)" "$SCRATCH" >/dev/null 2>&1 </dev/null
}

# Everything that runs for the Slurm of that folder knows its configuration, jobs' programs too.
slurm_processes() { # DIR
    local file
    for file in /proc/[0-9]*/environ; do
        grep -qszxF "SLURM_CONF=$1/slurm.conf" "$file" || continue
        file=${file#/proc/}
        [ "${file%/*}" = $$ ] || [ "${file%/*}" = $BASHPID ] || echo "${file%/*}"
    done
}

slurm_stop() { # DIR; daemons first, as they would report the deaths of the others
    local file pid
    for file in "$1"/slurmctld.pid "$1"/slurmd-*.pid; do
        [ -s "$file" ] && kill "$(cat "$file")" 2>/dev/null
    done
    for pid in $(slurm_processes "$1"); do kill -9 "$pid" 2>/dev/null; done
    return 0
}

slurm_down() {
    [ -n "$slurm_dir" ] || return 0
    slurm_stop "$slurm_dir"
    rm -rf "$slurm_dir"
    slurm_dir=''
    unset SLURM_CONF
}
trap 'slurm_down; chmod -R u+w "$SCRATCH" 2>/dev/null; rm -rf "$SCRATCH"' EXIT

slurm_wait() { # SECONDS CONDITION...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

job_field() { # JOB FIELD
    scontrol show job "$1" 2>/dev/null | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1
}
