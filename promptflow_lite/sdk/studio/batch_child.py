"""The process that executes a batch plan of the studio: runs go to the store, what fails before them to its file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from promptflow_lite._utils.jsonable import dumps, loads
from promptflow_lite.errors import error_to_dict
from promptflow_lite.records import Status
from promptflow_lite.sdk.client import Client
from promptflow_lite.sdk.runs import ExecutionOptions, RunRequest
from promptflow_lite.sdk.studio.batch import BatchPlan, EvaluationPlan


def main(path: Path) -> None:
    """Execute the plan in a file and note there how it ended."""
    request = loads(path.read_bytes())
    _note(path, request, pid=os.getpid())
    try:
        with Client() as client:
            if "resume" in request:
                client.runs.resume(request["resume"])
            else:
                _execute(client, _plan(request["plan"]))
    except Exception as error:  # it becomes what the studio shows
        _note(path, request, error=error_to_dict(error))
    finally:
        _note(path, request, is_finished=True)


def _note(path: Path, request: dict[str, Any], **facts: Any) -> None:
    request.update(facts)
    part = path.with_suffix(".part")
    part.write_text(dumps(request), encoding="utf-8")
    part.replace(path)


def _plan(data: dict[str, Any]) -> BatchPlan:
    evaluations = [EvaluationPlan(**item) for item in data.pop("evaluations")]
    return BatchPlan(**data, evaluations=evaluations)


def _execute(client: Client, plan: BatchPlan) -> None:
    options = ExecutionOptions(concurrency=plan.concurrency)
    for variant, name in zip(plan.variants, plan.run_names(), strict=True):
        request = RunRequest(
            flow=plan.flow,
            data=plan.data,
            column_mapping=plan.mapping or None,
            variant=variant,
            name=name,
            properties={"experiment": plan.name} if len(plan.variants) > 1 else {},
        )
        record = client.runs.create(request, options=options)
        if record.status is Status.CANCELED:
            return

        for evaluation in plan.evaluations:
            client.runs.create(
                RunRequest(
                    flow=evaluation.flow,
                    data=plan.data,
                    run=name,
                    column_mapping=evaluation.mapping or None,
                    name=f"{name}__{Path(evaluation.flow).name}",
                ),
                options=options,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
