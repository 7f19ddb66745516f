/** A node's card on the canvas. */
import { Handle, Position, type Node, type NodeProps } from "@xyflow/react";
import { useEffect, useRef, useState } from "react";
import { duration, Elapsed, Icon } from "../shared/icons";
import type { CanvasNode } from "./model";

export interface CardData extends Record<string, unknown> {
  node: CanvasNode;
  direction: "TB" | "LR";
  readonly: boolean;
  dimmed: boolean;
  renaming: boolean;
  onRename: (name: string | null) => void;
}

export type CardNode = Node<CardData, "card">;

function facts(node: CanvasNode): string {
  const state = node.status === "Bypassed" || node.status === "Waiting" ? node.status.toLowerCase() : "";
  const parts = [node.note ?? node.kind, state || duration(node.ms), node.tokens ? `${node.tokens} tok` : ""];
  return parts.filter(Boolean).join(" · ");
}

function RenameBox({ name, onRename }: { name: string; onRename: CardData["onRename"] }) {
  const [text, setText] = useState(name);
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => box.current?.select(), []);
  return (
    <input
      ref={box}
      className="rename nodrag"
      aria-label="New name"
      value={text}
      onChange={(event) => setText(event.target.value)}
      onBlur={() => onRename(text)}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === "Enter" || event.key === "Escape") {
          onRename(event.key === "Enter" ? text : null);
        }
      }}
    />
  );
}

export function Card({ data, selected }: NodeProps<CardNode>) {
  const { node, direction } = data;
  const classes = ["card", `kind-${node.kind}`, `is-${node.status ?? "NotStarted"}`];
  if (selected) classes.push("selected");
  if (data.dimmed) classes.push("dimmed");
  const isEnd = node.kind === "inputs" || node.kind === "outputs";
  return (
    <div className={classes.join(" ")} title={node.problems ? `${node.problems} problem(s)` : undefined}>
      {node.kind !== "inputs" && (
        <Handle type="target" position={direction === "TB" ? Position.Top : Position.Left} isConnectable={!data.readonly} />
      )}
      <div className="card-icon">
        <Icon name={node.kind} />
      </div>
      <div className="card-body">
        {data.renaming ? <RenameBox name={node.label} onRename={data.onRename} /> : <div className="card-name">{node.label}</div>}
        <div className="card-facts">
          <span>
            {facts(node)}
            {node.since != null && <> · <Elapsed since={node.since} /></>}
          </span>
          {node.for_each && <Icon name="repeat" />}
          {node.conditional && <Icon name="branch" />}
        </div>
      </div>
      <div className="card-side">
        {node.problems ? <span className="badge bad">{node.problems}</span> : !isEnd && <span className={`dot ${node.status ?? ""}`} title={node.status} />}
        {(node.variants ?? 0) > 1 && <span className="badge">{node.variants} var</span>}
      </div>
      {node.kind !== "outputs" && (
        <Handle type="source" position={direction === "TB" ? Position.Bottom : Position.Right} isConnectable={!data.readonly} />
      )}
    </div>
  );
}
