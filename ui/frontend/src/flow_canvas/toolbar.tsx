/** Palette, history, layout and search above the canvas, and the question which input an edge shall feed. */
import { useEffect, useRef, useState } from "react";
import { Icon } from "../shared/icons";
import { keepPlainKeys } from "../shared/streamlit";
import type { CanvasData, Choice } from "./model";

const palette = [
  { kind: "llm", label: "LLM" },
  { kind: "prompt", label: "Prompt" },
  { kind: "python", label: "Python" },
  { kind: "for_each", label: "For each", hint: "A node that runs once for every element of a list" },
];

interface ToolbarProps {
  data: CanvasData;
  readonly: boolean;
  dragType: string;
  query: string;
  onQuery: (text: string) => void;
  onFind: () => void;
  onAdd: (kind: string, made?: { tool?: string; path?: string }) => void;
  onHelp: () => void;
  emit: (op: { op: string; [field: string]: unknown }) => void;
}

export function Toolbar({ data, readonly, dragType, query, onQuery, onFind, onAdd, onHelp, emit }: ToolbarProps) {
  const [choosing, setChoosing] = useState<"tool" | "flow" | null>(null);
  const turned = data.direction === "TB" ? "LR" : "TB";
  return (
    <div className="toolbar">
      {!readonly &&
        palette.map(({ kind, label, hint }) => (
          <button
            key={kind}
            className={`plain add kind-${kind}`}
            data-kind={kind}
            draggable
            title={`${hint ?? `A node of kind ${label}`}: click, or drag onto the canvas`}
            aria-label={`Add ${label}`}
            onDragStart={(event) => event.dataTransfer.setData(dragType, kind)}
            onClick={() => onAdd(kind)}
          >
            <Icon name={kind} />
            <span className="label">{label}</span>
          </button>
        ))}
      {!readonly && (
        <span className="menu-anchor">
          <button className="plain add kind-tool" aria-label="Add Tool" aria-expanded={choosing === "tool"} title="A tool of an installed package" onClick={() => setChoosing(choosing === "tool" ? null : "tool")}>
            <Icon name="tool" />
            <span className="label">Tool</span>
          </button>
          {choosing === "tool" && (
            <Chooser what="tool" choices={data.tools} onClose={() => setChoosing(null)} onPick={(tool) => onAdd("tool", { tool })} />
          )}
        </span>
      )}
      {!readonly && (
        <span className="menu-anchor">
          <button className="plain add kind-flow" aria-label="Add Sub-flow" aria-expanded={choosing === "flow"} title="Another flow as a node" onClick={() => setChoosing(choosing === "flow" ? null : "flow")}>
            <Icon name="flow" />
            <span className="label">Flow</span>
          </button>
          {choosing === "flow" && (
            <Chooser what="flow" choices={data.flows} onClose={() => setChoosing(null)} onPick={(path) => onAdd("flow", { path })} />
          )}
        </span>
      )}
      {!readonly && <span className="rule" />}
      {!readonly && (
        <button className="plain icon" title="Undo (Ctrl+Z)" aria-label="Undo" disabled={!data.can_undo} onClick={() => emit({ op: "undo" })}>
          <Icon name="undo" />
        </button>
      )}
      {!readonly && (
        <button className="plain icon" title="Redo (Ctrl+Y)" aria-label="Redo" disabled={!data.can_redo} onClick={() => emit({ op: "redo" })}>
          <Icon name="redo" />
        </button>
      )}
      <button className="plain icon" title="Arrange the nodes" aria-label="Auto layout" onClick={() => emit({ op: "layout", direction: data.direction })}>
        <Icon name="layout" />
      </button>
      <button
        className="plain icon"
        title={turned === "LR" ? "Left to right" : "Top to bottom"}
        aria-label="Turn the layout"
        onClick={() => emit({ op: "layout", direction: turned })}
      >
        <Icon name="turn" />
      </button>
      <label className="search">
        <Icon name="search" />
        <input
          value={query}
          placeholder="Find"
          aria-label="Find a node"
          onChange={(event) => onQuery(event.target.value)}
          onKeyDown={(event) => {
            event.stopPropagation();
            keepPlainKeys(event);
            if (event.key === "Enter") onFind();
            if (event.key === "Escape") onQuery("");
          }}
        />
      </label>
      <button className="plain icon" title="Keyboard shortcuts (?)" aria-label="Keyboard shortcuts" onClick={onHelp}>
        <Icon name="help" />
      </button>
    </div>
  );
}

interface ChooserProps {
  what: string;
  choices: Choice[];
  onPick: (id: string) => void;
  onClose: () => void;
}

/** A list to search and pick from. */
function Chooser({ what, choices, onPick, onClose }: ChooserProps) {
  const [query, setQuery] = useState("");
  const box = useRef<HTMLInputElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  useEffect(() => box.current?.focus(), []);
  const wanted = query.trim().toLowerCase();
  const found = choices.filter(({ id, name, note }) => `${id} ${name} ${note}`.toLowerCase().includes(wanted));
  const pick = (id: string) => {
    onClose();
    onPick(id);
  };
  return (
    <div
      className="chooser"
      role="dialog"
      aria-label={`Choose a ${what}`}
      ref={panel}
      onBlur={(event) => !panel.current?.contains(event.relatedTarget as Node | null) && onClose()}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Escape") onClose();
      }}
    >
      <input
        ref={box}
        value={query}
        placeholder={`Search ${what}s`}
        aria-label={`Search ${what}s`}
        onChange={(event) => setQuery(event.target.value)}
        onKeyDown={(event) => event.key === "Enter" && found.length > 0 && pick(found[0].id)}
      />
      <div className="chooser-list">
        {found.map(({ id, name, note }) => (
          <button key={id} className="plain" title={id} onClick={() => pick(id)}>
            <b>{name}</b>
            <span className="muted">{note}</span>
          </button>
        ))}
        {!found.length && <div className="muted none">{choices.length ? "Nothing fits." : `There is no other ${what} here.`}</div>}
      </div>
    </div>
  );
}

const shortcuts: Array<[string, string]> = [
  ["Ctrl+Enter", "Run the selected node"],
  ["Delete", "Delete what is selected"],
  ["F2, dbl-click", "Rename the node"],
  ["Ctrl+Z, Ctrl+Y", "Undo, redo"],
  ["/, Ctrl+F", "Find a node; Enter goes there"],
  ["F", "Fit the graph into the view"],
  ["Shift+drag", "Select several nodes"],
  ["Ctrl+wheel", "Zoom; drag moves the view"],
  ["Ctrl+S", "In an editor: save now"],
  ["Ctrl+Space", "In an editor: complete"],
  ["Esc", "Close, or clear the search"],
];

export function Help({ onClose }: { onClose: () => void }) {
  const close = useRef<HTMLButtonElement>(null);
  useEffect(() => close.current?.focus(), []);
  return (
    <div className="picker help" role="dialog" aria-label="Keyboard shortcuts" onKeyDown={(event) => event.key === "Escape" && onClose()}>
      <div className="picker-title help-title">
        <b>Keyboard</b>
        <button className="plain icon" ref={close} aria-label="Close" onClick={onClose}>
          <Icon name="close" />
        </button>
      </div>
      <dl>
        {shortcuts.map(([keys, meaning]) => (
          <div key={keys}>
            <dt>{keys}</dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

export interface PendingConnection {
  source: string;
  target: string;
  free: string[];
}

interface PickerProps {
  choice: PendingConnection;
  onPick: (input: string | null) => void;
  onCancel: () => void;
}

export function InputPicker({ choice, onPick, onCancel }: PickerProps) {
  const first = useRef<HTMLButtonElement>(null);
  useEffect(() => first.current?.focus(), []);
  return (
    <div className="picker" role="dialog" aria-label="Choose an input" onKeyDown={(event) => event.key === "Escape" && onCancel()}>
      <div className="picker-title">
        Which input of <b>{choice.target}</b> reads <b>{choice.source}</b>?
      </div>
      <div className="picker-options">
        {choice.free.map((name, index) => (
          <button key={name} ref={index === 0 ? first : undefined} onClick={() => onPick(name)}>
            {name}
          </button>
        ))}
        <button onClick={() => onPick(null)}>
          <Icon name="plus" />
          new input
        </button>
        <button className="plain" onClick={onCancel}>Cancel</button>
      </div>
    </div>
  );
}
