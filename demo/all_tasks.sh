#!/usr/bin/env bash
# All eight tasks on the features of `make demo`: one command per row of the table in docs/results.md.
# BIN = the environment's bin, DEMO = the folder `make demo` made. TASKS chooses some of them.
set -euo pipefail
bin=$(cd "${BIN:?}" && pwd)
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
cd "${DEMO:?}"

train() { # task, then flags
  local task=$1
  shift
  if [[ -n "${TASKS:-}" && " $TASKS " != *" $task "* ]]; then return; fi
  echo "== $task"
  rm -rf "all/$task"
  local started=$SECONDS
  "$bin/vllm-train" --features feats.zarr --task "$task" --annotations "set/annotations/$task" \
    --out "all/$task" --set train.llm.num_layers=4 "$@"
  echo "$task took $((SECONDS - started)) s"
}

train online_action_detection
train action_anticipation
train action_segmentation
train online_captioning --epochs 6 --lr 0.003 --set train.optim.llm_lr=0.003
train long_term_anticipation
train moment_query
train natural_language_query --set train.data.rows_per_token=2
train highlight_detection --set train.data.rows_per_token=4
