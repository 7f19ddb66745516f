/** Palette, history, layout and search above the canvas, and the question which input an edge shall feed. */
import { useEffect, useRef } from "react";
import { Icon } from "../shared/icons";
import { keepPlainKeys } from "../shared/streamlit";
import type { CanvasData } from "./model";

const palette = [
  { kind: "llm", label: "LLM" },
  { kind: "prompt", label: "Prompt" },
  { kind: "python", label: "Python" },
];

interface ToolbarProps {
  data: CanvasData;
  readonly: boolean;
  dragType: string;
  query: string;
  onQuery: (text: string) => void;
  onFind: () => void;
  onAdd: (kind: string) => void;
  emit: (op: { op: string; [field: string]: unknown }) => void;
}

export function Toolbar({ data, readonly, dragType, query, onQuery, onFind, onAdd, emit }: ToolbarProps) {
  const turned = data.direction === "TB" ? "LR" : "TB";
  return (
    <div className="toolbar">
      {!readonly &&
        palette.map(({ kind, label }) => (
          <button
            key={kind}
            className={`plain add kind-${kind}`}
            data-kind={kind}
            draggable
            title={`Add a ${label} node: click, or drag onto the canvas`}
            onDragStart={(event) => event.dataTransfer.setData(dragType, kind)}
            onClick={() => onAdd(kind)}
          >
            <Icon name={kind} />
            {label}
          </button>
        ))}
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
