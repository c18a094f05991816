#!/usr/bin/env bash
# The whole pipeline on generated videos: `make demo` (BIN = the environment's bin, DEMO = folder).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$(cd "${BIN:?}" && pwd)
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

mkdir -p "${DEMO:?}" && cd "$DEMO"
echo "== 1. a labelled video set, generated"
(cd "$root" && "$bin/python" -m demo.generate "$OLDPWD/set" --train-videos 16 --val-videos 6)

# The commands below are exactly what you would type; this file holds everything else.
cat > pipeline.toml <<'TOML'
[extract]
fps = 4

[train]
task = "action_segmentation"
annotations = "set/annotations/action_segmentation"
TOML

echo "== 2. vllm-extract set/videos --out feats.zarr"
"$bin/vllm-extract" set/videos --out feats.zarr

echo "== 3. vllm-train --features feats.zarr"
"$bin/vllm-train" --features feats.zarr

echo "== 4. the same features, another task: online action detection"
"$bin/vllm-train" --features feats.zarr --task online_action_detection \
  --annotations set/annotations/online_action_detection

echo "== 5. a page to look at: vllm-predict runs/action_segmentation ... --html answers.html"
"$bin/vllm-predict" runs/action_segmentation --features feats.zarr --subset val \
  --out submission --html answers.html
"$bin/vllm-store" report feats.zarr

echo
echo "Everything lies in $PWD: set/ (videos, labels), feats.zarr (features), runs/ (models,"
echo "predictions, logs of runs/<task>/1, 2, ...). Look closer: vllm-store info $PWD/feats.zarr;"
echo "tensorboard --logdir $PWD/runs"
echo
echo "Open in a browser, by a double click:"
echo "  what the model says   $PWD/answers.html"
echo "  how it was trained    $PWD/runs/action_segmentation/1/report.html"
echo "  what the store holds  $PWD/feats.zarr.report.html"
