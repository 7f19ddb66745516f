#!/bin/sh
# The main job on this sample: run two prompts over the same rows, evaluate both, compare them. `make demo` calls this.
set -eu
cd "$(dirname "$0")/../.."
rows=flows/sentiment/data.jsonl

pfl_quietly() {
  echo
  echo "\$ pfl $*"
  pfl "$@" >/dev/null
}

for variant in zero_shot six_shot; do
  pfl_quietly run create --flow flows/sentiment --data $rows --name $variant \
    --variant "\${classify.$variant}" --column-mapping text='${data.text}'
  pfl_quietly run create --flow evaluators/accuracy --data $rows --run $variant --name ${variant}_accuracy \
    --column-mapping answer='${run.outputs.label}' ground_truth='${data.label}'
done

echo
echo "\$ pfl run show-details --name six_shot --max-results 5"
pfl run show-details --name six_shot --max-results 5
echo
echo "\$ pfl run compare zero_shot six_shot"
pfl run compare zero_shot six_shot
