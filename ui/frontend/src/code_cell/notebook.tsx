/** The flow as a notebook: its inputs, a cell per node, its outputs. */
import { useMemo } from "react";
import { Icon } from "../shared/icons";
import type { OpLog } from "../shared/oplog";
import { NodeCell } from "./cell";
import { AddRow, Field } from "./fields";
import type { Emit, NotebookData } from "./model";

const settings = ["model", "deployment_name", "temperature", "top_p", "max_tokens", "stop", "seed", "response_format", "presence_penalty", "frequency_penalty"];

interface Props {
  data: NotebookData;
  log: OpLog;
  emit: Emit;
}

function InputsCard({ data, emit }: { data: NotebookData; emit: Emit }) {
  const readonly = Boolean(data.readonly);
  return (
    <section className={`cell kind-inputs ${data.selected === "inputs" ? "selected" : ""}`} data-cell="inputs">
      <header className="cell-head">
        <span className="badge">
          <Icon name="inputs" />
          Inputs
        </span>
        <span className="cell-facts">values to test with</span>
      </header>
      {data.inputs.length > 0 && (
        <div className="grid head">
          <span>name</span>
          <span>type</span>
          <span>test value</span>
          <span>default</span>
          <span />
        </div>
      )}
      {data.inputs.map((row) => (
        <div className="grid" key={row.name}>
          <Field value={row.name} label={`Input name ${row.name}`} disabled={readonly} onCommit={(name) => emit({ op: "rename_flow_input", input: row.name, name })} />
          <select aria-label={`Type of ${row.name}`} value={row.type} disabled={readonly} onChange={(event) => emit({ op: "set_flow_input", input: row.name, key: "type", value: event.target.value })}>
            {data.types.map((type) => (
              <option key={type}>{type}</option>
            ))}
          </select>
          <Field value={row.test} label={`Test value of ${row.name}`} placeholder={row.default || "value"} onCommit={(value) => emit({ op: "set_test", input: row.name, value })} />
          <Field value={row.default} label={`Default of ${row.name}`} placeholder="none" disabled={readonly} onCommit={(value) => emit({ op: "set_flow_input", input: row.name, key: "default", value })} />
          {!readonly && (
            <button className="plain icon row-x" aria-label={`Remove input ${row.name}`} onClick={() => emit({ op: "remove_flow_input", input: row.name })}>
              <Icon name="close" />
            </button>
          )}
        </div>
      ))}
      {!readonly && <AddRow placeholder="add an input…" label="Add a flow input" onAdd={(name) => emit({ op: "set_flow_input", input: name, key: "type", value: "string" })} />}
    </section>
  );
}

function OutputsCard({ data, emit }: { data: NotebookData; emit: Emit }) {
  const readonly = Boolean(data.readonly);
  return (
    <section className={`cell kind-outputs ${data.selected === "outputs" ? "selected" : ""}`} data-cell="outputs">
      <header className="cell-head">
        <span className="badge">
          <Icon name="outputs" />
          Outputs
        </span>
      </header>
      {data.outputs.map((row) => (
        <div className="row" key={row.name}>
          <span className="row-name">{row.name}</span>
          <Field value={row.reference} label={`Output ${row.name}`} list="pfl-references" placeholder="reads nothing yet" disabled={readonly} onCommit={(value) => emit({ op: "set_output", output: row.name, value })} />
          {!readonly && (
            <button className="plain icon row-x" aria-label={`Remove output ${row.name}`} onClick={() => emit({ op: "remove_output", output: row.name })}>
              <Icon name="close" />
            </button>
          )}
        </div>
      ))}
      {!readonly && <AddRow placeholder="add an output…" label="Add a flow output" onAdd={(name) => emit({ op: "set_output", output: name, value: "" })} />}
    </section>
  );
}

export function Notebook({ data, log, emit }: Props) {
  const selected = useMemo(() => {
    const chosen = [...log.pending].reverse().find((op) => op.op === "select");
    return chosen ? (chosen.node as string | null) : data.selected;
  }, [data, log.pending]);
  const readonly = Boolean(data.readonly);
  return (
    <div className="notebook">
      <datalist id="pfl-references">
        {data.references.map((reference) => (
          <option key={reference} value={reference} />
        ))}
      </datalist>
      <datalist id="pfl-settings">
        {settings.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <InputsCard data={{ ...data, selected }} emit={emit} />
      {data.cells.map((cell) => (
        <NodeCell
          key={cell.id}
          cell={cell}
          selected={selected === cell.id}
          busy={data.busy}
          readonly={readonly}
          unsent={log.has(`text:${cell.path}`)}
          connections={data.connections}
          operators={data.operators}
          emit={emit}
        />
      ))}
      {!readonly && (
        <div className="add-cells">
          {["llm", "prompt", "python"].map((kind) => (
            <button key={kind} className={`kind-${kind}`} onClick={() => emit({ op: "add", kind, position: null, after: data.cells.at(-1)?.id ?? null })}>
              <Icon name="plus" />
              {{ llm: "LLM", prompt: "Prompt", python: "Python" }[kind]}
            </button>
          ))}
        </div>
      )}
      <OutputsCard data={{ ...data, selected }} emit={emit} />
    </div>
  );
}
