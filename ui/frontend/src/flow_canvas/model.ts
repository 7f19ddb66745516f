/** What Python sends to the canvas, and how pending edits are laid over it. */
import type { Op } from "../shared/oplog";

export interface CanvasNode {
  id: string;
  kind: string;
  label: string;
  status?: string;
  ms?: number | null;
  /** When it started, in seconds of the epoch, while it runs. */
  since?: number | null;
  tokens?: number | null;
  variants?: number;
  problems?: number;
  aggregation?: boolean;
  conditional?: boolean;
  for_each?: boolean;
  cached?: boolean;
  note?: string;
  /** Inputs that nothing feeds yet; an edge drawn to the node fills one of them. */
  free?: string[];
  position?: [number, number] | null;
}

export interface CanvasEdge {
  id: string;
  source: string;
  target: string;
  /** Names of the target's inputs that carry the reference. */
  inputs: string[];
  conditional?: boolean;
}

/** Something that a new node can be made of. */
export interface Choice {
  id: string;
  name: string;
  note: string;
}

export interface CanvasData {
  height?: string;
  nodes: CanvasNode[];
  edges: CanvasEdge[];
  selected: string | null;
  direction: "TB" | "LR";
  tools: Choice[];
  flows: Choice[];
  readonly?: boolean;
  can_undo?: boolean;
  can_redo?: boolean;
  ack: number;
  epoch: string;
}

/** The snapshot as it will look once the server has applied the pending operations. */
export function rebase(data: CanvasData, pending: Op[]): CanvasData {
  let { nodes, edges, selected, direction } = data;
  for (const op of pending) {
    if (op.op === "move") {
      const moved = op.positions as Record<string, [number, number]>;
      nodes = nodes.map((node) => (moved[node.id] ? { ...node, position: moved[node.id] } : node));
    } else if (op.op === "layout") {
      nodes = nodes.map((node) => ({ ...node, position: null }));
      direction = (op.direction as "TB" | "LR") ?? direction;
    } else if (op.op === "select") {
      selected = op.node as string | null;
    } else if (op.op === "delete") {
      const gone = op.nodes as string[];
      nodes = nodes.filter((node) => !gone.includes(node.id));
      edges = edges.filter((edge) => !gone.includes(edge.source) && !gone.includes(edge.target));
    } else if (op.op === "disconnect") {
      edges = edges.filter((edge) => edge.source !== op.source || edge.target !== op.target);
    } else if (op.op === "connect") {
      const id = `${op.source}->${op.target}`;
      if (!edges.some((edge) => edge.id === id)) {
        edges = [...edges, { id, source: op.source as string, target: op.target as string, inputs: [] }];
      }
    } else if (op.op === "rename") {
      nodes = nodes.map((node) => (node.id === op.node ? { ...node, label: op.name as string } : node));
    }
  }
  return { ...data, nodes, edges, selected, direction };
}

/** Whether `target` already leads back to `source`: the edge would close a cycle. */
export function wouldCycle(edges: CanvasEdge[], source: string, target: string): boolean {
  const next = new Map<string, string[]>();
  for (const edge of edges) {
    next.set(edge.source, [...(next.get(edge.source) ?? []), edge.target]);
  }
  const queue = [target];
  const seen = new Set<string>();
  while (queue.length) {
    const id = queue.pop()!;
    if (id === source) {
      return true;
    }
    if (!seen.has(id)) {
      seen.add(id);
      queue.push(...(next.get(id) ?? []));
    }
  }
  return false;
}
