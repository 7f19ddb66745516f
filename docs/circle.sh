#!/bin/sh
# From serving to a better flow and back: two versions of a flow answer the same 500 requests (one of them unseen), a
# judge finds the worse one, traffic moves, the failing rows become a data set, and the gate lets the change pass.
#
# Usage: sh docs/circle.sh [FOLDER [PORT]]
set -eu

work=${1:-$(mktemp -d)}
port=${2:-8123}
mkdir -p "$work"
cd "$work"

# 1. Two versions of a flow that adds numbers; the first one forgets to carry.
for version in v1 v2; do
  mkdir -p $version
  cat > $version/flow.dag.yaml <<'YAML'
inputs:
  question: {type: string}
outputs:
  answer:
    type: string
    reference: ${add.output}
nodes:
- name: add
  type: python
  source: {type: code, path: add.py}
  inputs:
    question: ${inputs.question}
YAML
done
cat > v1/add.py <<'PYTHON'
from promptflow_lite.tools import tool


@tool
def add(question: str) -> str:
    a, b = (int(part) for part in question.split("+"))
    return str((a // 10 + b // 10) * 10 + (a % 10 + b % 10) % 10)
PYTHON
cat > v2/add.py <<'PYTHON'
from promptflow_lite.tools import tool


@tool
def add(question: str) -> str:
    a, b = (int(part) for part in question.split("+"))
    return str(a + b)
PYTHON

# 2. One endpoint: v1 answers, v2 runs every request unseen.
pfl endpoint create -n sums --deployment v1=v1 v2=v2 --weight v1=1 --mirror v2=1 > /dev/null
pfl serve --endpoint sums --port "$port" &
server=$!
trap 'kill $server 2> /dev/null || true' EXIT

# 3. 500 requests, each with the right answer along with it.
python3 - "$port" <<'PYTHON'
import http.client, json, random, sys, time

rng = random.Random(0)
for attempt in range(300):
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
        connection.request("GET", "/health")
        connection.getresponse().read()
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
for i in range(500):
    a, b = rng.randrange(100), rng.randrange(100)
    body = {"question": f"{a}+{b}", "ground_truth": str(a + b)}
    connection.request("POST", "/score", json.dumps(body), {"x-request-id": f"sum-{i}"})
    response = connection.getresponse()
    response.read()
    assert response.status == 200, response.status
PYTHON
sleep 1

# 4. Judge every answer, seen and unseen, and compare both versions on the same requests.
pfl monitor stats -n sums -o table
pfl monitor evaluate -n sums --evaluator correct=exact_match > /dev/null
pfl monitor scores -n sums -o table
pfl monitor verdict -n sums --deployments v1 v2 --metric correct > verdict.json
grep '"verdict": "better"' verdict.json

# 5. v2 is better: it takes the traffic, while the server runs. v1 stays ready for a roll back.
pfl endpoint update -n sums --weight v1=0 v2=1 --mirror v2=0 > /dev/null

# 6. What v1 got wrong becomes a data set for the next round.
pfl monitor export -n sums --deployment v1 --metric correct --below 1 --out worst.jsonl

# 7. The recorded traffic as two runs, and the gate over them.
pfl monitor save-run -n sums --deployment v1 --run sums_v1 --beside v2
pfl monitor save-run -n sums --deployment v2 --run sums_v2 --beside v1
pfl gate --run sums_v2 --baseline sums_v1 --metric correct --must-improve

# 8. The server follows by itself: the next answer comes from v2.
sleep 2
python3 - "$port" <<'PYTHON'
import http.client, json, sys

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
connection.request("POST", "/score", json.dumps({"question": "19+3"}))
print("19+3 =", json.loads(connection.getresponse().read())["answer"])
PYTHON
kill $server
wait $server
echo "The circle is closed."
