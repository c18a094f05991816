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

train online_action_detection --epochs 12 --lr 0.003
train action_anticipation --epochs 12 --lr 0.003 --batch-size 2
train action_segmentation --epochs 12 --lr 0.003
train online_captioning --epochs 6 --lr 0.003 --batch-size 1 --tuning lora:8 \
  --set train.optim.llm_lr=0.003
train long_term_anticipation --epochs 12 --lr 0.003 --batch-size 2
train moment_query --epochs 20 --lr 0.001
train natural_language_query --epochs 24 --lr 0.001 --batch-size 2 --set train.data.rows_per_token=2
train highlight_detection --epochs 16 --lr 0.003 --tuning lora:8 --set train.data.rows_per_token=4
