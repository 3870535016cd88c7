#!/bin/sh
# The shards of a plan as tasks of Slurm job arrays, one array for each kind of node that its kernels need. Written by
# `evenkeel plan --format slurm`; ci/slurm/README.md of Evenkeel explains it.
#
#   sh THIS          submits all shards, from the folder that it was planned in, which every node must see at the same place
#   sh THIS 2 5      submits these once more: what is measured already is not measured again
#
# Variables, when it is submitted: EVENKEEL (the program; evenkeel in PATH, on every node), EVENKEEL_OUT (where shards are written),
# EVENKEEL_AT_ONCE (so many tasks of an array at a time), AGAINST and BUDGET (as `bench` takes them); sbatch has its own: SBATCH_PARTITION,
# SBATCH_ACCOUNT, ...
set -eu

matrix={{matrix}}
shards={{shards}}
# What every task tells `bench`.
words() {
  set -- {{words}}
  printf '%s\n' "$@"
}
# Each line: features that the nodes must have, minutes, shards.
arrays() {
  {{arrays}}
}

submit() {
  features=$1 minutes=$2
  shift 2
  # First it is only asked which there are.
  if [ -z "$known" ]; then
    found="$found $* "
    return 0
  fi
  tasks=
  for shard in "$@"; do
    case " $wanted " in
      '  ' | *" $shard "*) tasks=$tasks,$shard ;;
    esac
  done
  if [ -z "$tasks" ]; then return 0; fi
  # A node measures one task at a time and nothing else. A task whose node fails is queued again, and begins anew where it is another node.
  job=$(sbatch --parsable --job-name="evenkeel-$matrix" --array="${tasks#,}${EVENKEEL_AT_ONCE:+%$EVENKEEL_AT_ONCE}" \
    ${features:+--constraint="$features"} --nodes=1 --ntasks=1 --exclusive --time="$minutes" --requeue --open-mode=append \
    --output="$out/log/%a.txt" "$self" "$out" "$tool" "$against" "${BUDGET:-}")
  echo "job ${job%%;*}: shards ${tasks#,}${features:+ on nodes with $features}"
}

if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
  self=$0
  wanted=$*
  known='' found=
  arrays
  known=$found
  for shard in "$@"; do
    case $known in
      *" $shard "*) ;;
      *) echo "error: no shard $shard to submit: there are$known" >&2 && exit 2 ;;
    esac
  done
  tool=${EVENKEEL:-$(command -v evenkeel || echo evenkeel)}
  out=${EVENKEEL_OUT:-$PWD/out/slurm-$matrix}
  against=
  # Every task means the same commit, whatever is committed meanwhile.
  if [ -n "${AGAINST:-}" ]; then against=$(git rev-parse --verify --end-of-options "$AGAINST^{commit}"); fi
  mkdir -p "$out/log"
  # What is measured there already is this: another plan, commit or base would be told what that one found.
  asked=$(
    words
    printf '%s\n' "shards $shards" "against ${against:-nothing}" "commit $(git rev-parse --verify --quiet HEAD || echo none)"
  )
  if [ ! -e "$out/asked" ]; then
    printf '%s\n' "$asked" > "$out/asked"
  elif [ "$asked" != "$(cat "$out/asked")" ]; then
    echo "error: $out is of another plan, commit or base: choose another EVENKEEL_OUT, or remove it" >&2
    exit 2
  fi
  arrays
  echo "when they have ended: $tool merge $out --out $out-whole"
  exit 0
fi

out=$1 tool=$2 against=$3 budget=$4
shard=$SLURM_ARRAY_TASK_ID
if [ -e "$out/$shard/run.json" ]; then
  echo "shard $shard/$shards is measured: remove $out/$shard to measure it again"
  exit 0
fi
# A folder for each shard *and* node: the lock of the node keeps a second writer away, also where a node comes back that was given up. It becomes
# the shard's at once, when it is whole.
mine=$out/unfinished/$shard-${SLURMD_NODENAME:-$(hostname)}
mkdir -p "$out/unfinished"

# Words and no function: that would be a shell of its own in the background, which a signal ends.
if [ "$(id -u)" != 0 ] && sudo -n --preserve-env=SLURM_JOB_ID "$tool" --version > /dev/null 2>&1; then
  set -- sudo -n --preserve-env=SLURM_JOB_ID "$tool"
else
  set -- "$tool"
fi
# What a node that failed has left. Nothing else is measured on it now: it is this task's.
"$@" restore

if [ -e "$mine/run.json" ]; then
  set -- "$@" bench --resume "$mine"
else
  set -- "$@" bench
  IFS='
'
  # A filter is no pattern of files.
  set -f
  for word in $(words); do set -- "$@" "$word"; done
  set +f
  unset IFS
  set -- "$@" --shard "$shard/$shards" --out "$mine"
  if [ -n "$against" ]; then set -- "$@" --against "$against"; fi
  if [ -n "$against" ] && [ -n "$budget" ]; then set -- "$@" --budget "$budget"; fi
fi
# A task that is cancelled is told so, as its program is: it waits until the host is restored.
trap : TERM
"$@" &
bench=$!
code=0
wait "$bench" || code=$?
while [ "$code" -gt 128 ] && [ -e "/proc/$bench" ]; do
  code=0
  wait "$bench" || code=$?
done
# 1 and 3 are verdicts, which `merge` gives of the whole; anything else is this task's own failure.
case $code in
  0 | 1 | 3)
    # At once or not at all: into a folder that is there nothing is moved.
    mv --no-target-directory "$mine" "$out/$shard" ||
      { [ -e "$out/$shard/run.json" ] && echo "another node has measured shard $shard meanwhile: this one's stays in $mine"; }
    ;;
  *) exit "$code" ;;
esac
