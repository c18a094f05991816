#!/usr/bin/env bash
# Start SLURM with two virtual nodes on this host: no systemd, no cgroups, no accounting, nothing
# outside one folder. Debian's packages are installed if they are missing (root or sudo).
#
#   start_slurm.sh FOLDER [FIRST_PORT]     then: export SLURM_CONF=FOLDER/slurm.conf
#   start_slurm.sh --stop FOLDER
set -euo pipefail
export PATH=$PATH:/usr/sbin DEBIAN_FRONTEND=noninteractive

is_running() { # program, pid file: is that program alive under that process id?
  local pid
  pid=$(cat "$2" 2>/dev/null) && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$1" ]]
}

end() { # program, pid file
  is_running "$1" "$2" || return 0
  local pid
  pid=$(cat "$2")
  kill "$pid"
  for _ in {1..50}; do
    [[ -d /proc/$pid ]] || return 0
    sleep 0.1
  done
  kill -9 "$pid"
}

if [[ $1 == --stop ]]; then
  folder=$2
  export SLURM_CONF=$folder/slurm.conf
  if is_running slurmctld "$folder/slurmctld.pid"; then
    # The processes of a job outlive their slurmd: they are cancelled first.
    timeout 10 scancel --user "$(id -un)" || true
    for _ in {1..60}; do
      [[ -z $(timeout 5 squeue --noheader) ]] && break
      sleep 0.2
    done
  fi
  for node in one two; do end slurmd "$folder/slurmd-$node.pid"; done
  end slurmctld "$folder/slurmctld.pid"
  end munged "$folder/munge/munged.pid"
  exit 0
fi

folder=$(realpath -m "$1")
port=${2:-26917}
programs=(slurmctld slurmd munged sbatch)
if ! command -v "${programs[@]}" >/dev/null || (($(command -v "${programs[@]}" | wc -l) < 4)); then
  root=()
  [[ $(id -u) == 0 ]] || root=(sudo)
  packages=(slurmctld slurmd slurm-client munge)
  "${root[@]}" apt-get update -qq
  "${root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

host=$(hostname -s)
user=$(id -un)
mkdir -p "$folder"/{state,log,spool-one,spool-two}
# munged wants its socket's folder open to all and its key's folder closed.
install -d -m 755 "$folder/munge"
install -d -m 700 "$folder/key"
[[ -s $folder/key/munge.key ]] ||
  (umask 077 && head -c 128 /dev/urandom >"$folder/key/munge.key")

cat >"$folder/slurm.conf" <<CONF
ClusterName=test
# host(address): no name service is asked
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
# A requeued job waits until its old credential has expired: 120 s if nothing is said.
AuthInfo=socket=$folder/munge/socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# Nodes have the cores that are written here, whatever the host has.
SlurmdParameters=config_overrides
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd-%n.log
PlugStackConfig=$folder/plugstack.conf
SchedulerParameters=bf_interval=2,sched_interval=3
KillWait=3
MinJobAge=3600
SlurmdTimeout=20
ReturnToService=1
JobRequeue=1
NodeName=one NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=2 RealMemory=8000
NodeName=two NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=2 RealMemory=8000
PartitionName=main Nodes=one,two Default=YES MaxTime=60 DefaultTime=10 LLN=YES State=UP
CONF
: >"$folder/plugstack.conf"
export SLURM_CONF=$folder/slurm.conf

if ! is_running munged "$folder/munge/munged.pid"; then
  rm -f "$folder"/munge/*
  munged --socket="$folder/munge/socket" --key-file="$folder/key/munge.key" \
    --pid-file="$folder/munge/munged.pid" --log-file="$folder/log/munged.log" \
    --seed-file="$folder/key/seed" --num-threads=2
fi
is_running slurmctld "$folder/slurmctld.pid" || slurmctld -f "$SLURM_CONF"
for node in one two; do
  is_running slurmd "$folder/slurmd-$node.pid" || slurmd -f "$SLURM_CONF" -N "$node"
done

for _ in {1..150}; do
  up=$(timeout 3 sinfo --noheader --Node --format=%T 2>/dev/null | grep -cE '^(idle|mixed|allocated)$') || true
  [[ $up == 2 ]] && exit 0
  sleep 0.2
done
echo "The nodes did not come up:" >&2
timeout 5 sinfo --Node --long >&2 || true
tail -n 8 "$folder"/log/*.log >&2
exit 1
