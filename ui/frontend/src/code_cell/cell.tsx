/** One node as a notebook cell: header, editor, inputs, output. */
import { useEffect, useRef, useState } from "react";
import { duration, Elapsed, Icon } from "../shared/icons";
import { Code } from "./code";
import { AddRow, Field } from "./fields";
import type { Cell, CellError, Emit, InputRow } from "./model";

interface CellProps {
  cell: Cell;
  selected: boolean;
  busy: boolean;
  readonly: boolean;
  unsent: boolean;
  connections: string[];
  operators: string[];
  emit: Emit;
}

function Menu({ cell, emit, close }: { cell: Cell; emit: Emit; close: () => void }) {
  const choose = (op: Record<string, unknown> & { op: string }) => () => {
    close();
    emit({ node: cell.id, ...op });
  };
  return (
    <div className="menu" role="menu" onMouseLeave={close}>
      <button role="menuitem" className="plain" onClick={choose({ op: "add_variant" })}>
        <Icon name="copy" />
        Add a variant
      </button>
      {cell.variants.length > 0 && cell.variant !== cell.default_variant && (
        <button role="menuitem" className="plain" onClick={choose({ op: "set_default_variant", variant: cell.variant })}>
          <Icon name="star" />
          Make {cell.variant} the default
        </button>
      )}
      {cell.variants.length > 1 && (
        <button role="menuitem" className="plain" onClick={choose({ op: "remove_variant", variant: cell.variant })}>
          <Icon name="close" />
          Remove {cell.variant}
        </button>
      )}
      <button role="menuitem" className="plain" onClick={choose({ op: "open", page: "variants" })}>
        <Icon name="branch" />
        Compare variants
      </button>
      <button role="menuitem" className="plain danger" onClick={choose({ op: "delete", nodes: [cell.id] })}>
        <Icon name="trash" />
        Delete node
      </button>
    </div>
  );
}

function facts(cell: Cell): string {
  if (cell.status === "Bypassed" || cell.status === "Waiting") {
    return cell.status.toLowerCase();
  }
  return [duration(cell.ms), cell.tokens ? `${cell.tokens} tok` : ""].filter(Boolean).join(" · ");
}

function Header({ cell, busy, readonly, emit }: Pick<CellProps, "cell" | "busy" | "readonly" | "emit">) {
  const [open, setOpen] = useState(false);
  return (
    <header className="cell-head">
      <span className={`dot ${cell.status ?? ""}`} title={cell.status ?? "not run yet"} />
      <Field
        className="cell-name"
        label={`Name of ${cell.id}`}
        value={cell.id}
        disabled={readonly}
        onCommit={(name) => name.trim() && emit({ op: "rename", node: cell.id, name: name.trim() })}
      />
      <span className="badge">
        <Icon name={cell.kind} />
        {cell.note ?? cell.kind}
      </span>
      {cell.cached && <span className="badge">cache</span>}
      {cell.for_each && <span className="badge" title={`Runs for each element of ${cell.for_each}`}>for each</span>}
      {cell.activate && (
        <span className="badge" title={`Runs when ${cell.activate.when} ${cell.activate.operator} ${cell.activate.value}`}>when</span>
      )}
      <span className="cell-facts">
        {cell.since != null ? <Elapsed since={cell.since} /> : facts(cell)}
      </span>
      {cell.variants.length > 0 && (
        <select
          aria-label={`Variant of ${cell.id}`}
          value={cell.variant ?? ""}
          onChange={(event) => emit({ op: "show_variant", node: cell.id, variant: event.target.value })}
        >
          {cell.variants.map((name) => (
            <option key={name} value={name}>
              {name === cell.default_variant ? `${name} (default)` : name}
            </option>
          ))}
        </select>
      )}
      <button className="icon" aria-label={`Run ${cell.id}`} title="Run this node (Ctrl+Enter)" disabled={busy} onClick={() => emit({ op: "run", node: cell.id })}>
        <Icon name="play" />
      </button>
      <button className="icon" aria-label={`Run to ${cell.id}`} title="Run to here" disabled={busy} onClick={() => emit({ op: "run_to", node: cell.id })}>
        <Icon name="playto" />
      </button>
      {!readonly && (
        <span className="menu-anchor">
          <button className="icon plain" aria-label={`More for ${cell.id}`} aria-expanded={open} onClick={() => setOpen(!open)}>
            <Icon name="more" />
          </button>
          {open && <Menu cell={cell} emit={emit} close={() => setOpen(false)} />}
        </span>
      )}
    </header>
  );
}

function Row({ cell, row, readonly, emit }: { cell: Cell; row: InputRow; readonly: boolean; emit: Emit }) {
  const label = `${cell.id} input ${row.name}`;
  const commit = (value: string) => emit({ op: "set_input", node: cell.id, input: row.name, value });
  return (
    <div className={`row is-${row.kind}`}>
      <span className="row-name" title={row.hint}>
        {row.name}
        {row.type && <i>{row.type}</i>}
      </span>
      {row.options ? (
        <select aria-label={label} value={row.value} disabled={readonly} onChange={(event) => commit(event.target.value)}>
          {[...new Set([row.value, ...row.options])].map((option) => (
            <option key={option} value={option}>{option || "not set"}</option>
          ))}
        </select>
      ) : (
        <Field value={row.value} label={label} list="pfl-references" placeholder={row.kind === "missing" ? "needs a value: type $ for a reference" : ""} disabled={readonly} onCommit={commit} />
      )}
      {!readonly && row.kind !== "missing" && (
        <button className="plain icon row-x" aria-label={`Clear ${label}`} title="Remove" onClick={() => emit({ op: "remove_input", node: cell.id, input: row.name })}>
          <Icon name="close" />
        </button>
      )}
    </div>
  );
}

function Inputs({ cell, readonly, connections, emit }: Pick<CellProps, "cell" | "readonly" | "connections" | "emit">) {
  const values = cell.inputs.filter((row) => row.kind !== "setting");
  const settings = cell.inputs.filter((row) => row.kind === "setting");
  const isModel = cell.kind === "llm";
  const [open, setOpen] = useState(false);
  return (
    <div className="inputs">
      {values.map((row) => (
        <Row key={row.name} cell={cell} row={row} readonly={readonly} emit={emit} />
      ))}
      {!readonly && cell.kind !== "llm" && cell.kind !== "prompt" && (
        <AddRow placeholder="add an input…" options={cell.addable} label={`Add an input to ${cell.id}`} onAdd={(name) => emit({ op: "set_input", node: cell.id, input: name, value: "" })} />
      )}
      {isModel && (
        <button className="plain fold" aria-expanded={open} onClick={() => setOpen(!open)}>
          <span className={open ? "turned" : ""}>
            <Icon name="chevron" />
          </span>
          {cell.connection || "default model"}
          <span className="muted">{settings.map((row) => `${row.name} ${row.value}`).join(" · ")}</span>
        </button>
      )}
      {isModel && open && (
        <div className="settings">
          <div className="row">
            <span className="row-name">connection</span>
            <select
              aria-label={`Connection of ${cell.id}`}
              value={cell.connection ?? ""}
              disabled={readonly}
              onChange={(event) => emit({ op: "set_connection", node: cell.id, connection: event.target.value || null })}
            >
              {["", ...new Set([...(cell.connection ? [cell.connection] : []), ...connections])].map((name) => (
                <option key={name} value={name}>{name || "default model"}</option>
              ))}
            </select>
          </div>
          {settings.map((row) => (
            <Row key={row.name} cell={cell} row={row} readonly={readonly} emit={emit} />
          ))}
          {!readonly && (
            <AddRow
              placeholder="add a setting…"
              list="pfl-settings"
              label={`Add a setting to ${cell.id}`}
              onAdd={(name) => emit({ op: "set_input", node: cell.id, input: name, value: name === "temperature" ? "0" : "" })}
            />
          )}
        </div>
      )}
    </div>
  );
}

/** When and how often a node runs. */
function Options({ cell, operators, readonly, emit }: Pick<CellProps, "cell" | "operators" | "readonly" | "emit">) {
  const isSet = Boolean(cell.activate || cell.for_each || cell.aggregation || cell.cached);
  const [open, setOpen] = useState(isSet);
  const { when, operator, value } = cell.activate ?? { when: "", operator: "is", value: "" };
  const activate = (change: object) => emit({ op: "set_activate", node: cell.id, when, operator, value, ...change });
  const field = (key: string) => (text: string) => emit({ op: "set_field", node: cell.id, key, value: text });
  const toggle = (key: string) => () => emit({ op: "toggle", node: cell.id, key });
  const summary = [
    cell.activate && `when ${when} ${operator} ${value}`,
    cell.for_each && `for each of ${cell.for_each}`,
    cell.aggregation && "once over all lines",
    cell.cached && "cached",
  ].filter(Boolean);
  return (
    <div className="inputs">
      <button className="plain fold" aria-expanded={open} aria-label={`Options of ${cell.id}`} onClick={() => setOpen(!open)}>
        <span className={open ? "turned" : ""}>
          <Icon name="chevron" />
        </span>
        Options
        {!open && <span className="muted">{summary.join(" · ")}</span>}
      </button>
      {open && (
        <div className="settings">
          <div className="row condition">
            <span className="row-name" title="The node runs only when this holds, and is bypassed otherwise">run when</span>
            <Field label={`Condition of ${cell.id}`} value={when} list="pfl-references" placeholder="always" disabled={readonly} onCommit={(text) => activate({ when: text })} />
            <select aria-label={`Operator of ${cell.id}`} value={operator} disabled={readonly || !when} onChange={(event) => activate({ operator: event.target.value })}>
              {operators.map((name) => (
                <option key={name} value={name}>{name.replace("_", " ")}</option>
              ))}
            </select>
            <Field label={`Compared value of ${cell.id}`} value={value} placeholder="value" disabled={readonly || !when} onCommit={(text) => activate({ value: text })} />
          </div>
          <div className="row">
            <span className="row-name" title="The node runs once for every element, which its inputs read as ${item}">for each of</span>
            <Field label={`List of ${cell.id}`} value={cell.for_each} list="pfl-references" placeholder="runs once" disabled={readonly} onCommit={field("for_each")} />
          </div>
          {cell.for_each && (
            <div className="row">
              <span className="row-name">at once</span>
              <Field label={`Concurrency of ${cell.id}`} value={cell.concurrency} placeholder="4" disabled={readonly} onCommit={field("concurrency")} />
            </div>
          )}
          <label className="check">
            <input type="checkbox" checked={cell.aggregation} disabled={readonly} onChange={toggle("aggregation")} />
            Aggregation: runs once, over the values of all lines
          </label>
          <label className="check">
            <input type="checkbox" checked={Boolean(cell.cached)} disabled={readonly} onChange={toggle("enable_cache")} />
            Cache: the same inputs give the stored output
          </label>
        </div>
      )}
    </div>
  );
}

function Problem({ error }: { error: CellError }) {
  return (
    <div className="problem" role="alert">
      <Icon name="alert" />
      <div>
        <div className="problem-text">{error.message}</div>
        {error.hint && <div className="muted">{error.hint}</div>}
        {error.where && <code>{error.where}</code>}
      </div>
    </div>
  );
}

function Output({ cell }: { cell: Cell }) {
  const tabs = [
    { id: "output", label: "Output", text: cell.output },
    { id: "rendered", label: "Rendered prompt", text: cell.rendered },
    { id: "log", label: "Log", text: cell.log || null },
  ].filter((tab) => tab.text !== null);
  const [chosen, setChosen] = useState("output");
  const active = tabs.find((tab) => tab.id === chosen) ?? tabs[0];
  if (!active) {
    return null;
  }
  return (
    <div className="output">
      {(tabs.length > 1 || active.id !== "output") && (
        <div className="tabs" role="tablist">
          {tabs.map((tab) => (
            <button key={tab.id} role="tab" aria-selected={tab === active} className="plain" onClick={() => setChosen(tab.id)}>
              {tab.label}
            </button>
          ))}
        </div>
      )}
      <pre className={`out-${active.id}`}>{active.text}</pre>
    </div>
  );
}

export function NodeCell({ cell, selected, busy, readonly, unsent, connections, operators, emit }: CellProps) {
  const element = useRef<HTMLElement>(null);
  useEffect(() => {
    if (selected) {
      element.current?.scrollIntoView({ block: "nearest", behavior: "smooth" });
    }
  }, [selected]);
  const errorMark = cell.error?.line ? [{ line: cell.error.line, message: cell.error.message, severity: "error" as const }] : [];
  const select = () => !selected && emit({ op: "select", node: cell.id, slot: "select" });
  return (
    <section
      ref={element}
      data-cell={cell.id}
      className={`cell kind-${cell.kind} ${selected ? "selected" : ""}`}
      onClick={(event) => !(event.target as HTMLElement).closest("button, input, select, .cm-editor") && select()}
    >
      <Header cell={cell} busy={busy} readonly={readonly} emit={emit} />
      {cell.text !== null && (
        <Code
          key={cell.path}
          text={cell.text}
          language={cell.language}
          readonly={readonly || cell.readonly}
          lints={[...cell.lints, ...errorMark]}
          suggestions={cell.suggestions}
          label={`Source of ${cell.id}`}
          unsent={unsent}
          onCommit={(text) => emit({ op: "set_text", path: cell.path, node: cell.id, text, slot: `text:${cell.path}` })}
          onRun={() => emit({ op: "run", node: cell.id })}
          onFocus={select}
        />
      )}
      <Inputs cell={cell} readonly={readonly} connections={connections} emit={emit} />
      <Options cell={cell} operators={operators} readonly={readonly} emit={emit} />
      {cell.error && <Problem error={cell.error} />}
      <Output cell={cell} />
    </section>
  );
}
