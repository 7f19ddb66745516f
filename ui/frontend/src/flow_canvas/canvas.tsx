/** The flow as an editable graph. Python owns the flow; this component owns the viewport and drags in flight. */
import {
  Background,
  BackgroundVariant,
  Controls,
  MarkerType,
  MiniMap,
  ReactFlow,
  ReactFlowProvider,
  useNodesState,
  useReactFlow,
  type Connection,
  type Edge,
} from "@xyflow/react";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { OpLog } from "../shared/oplog";
import { keepPlainKeys } from "../shared/streamlit";
import { autoLayout, NODE_HEIGHT, NODE_WIDTH } from "./layout";
import { rebase, wouldCycle, type CanvasData } from "./model";
import { Card, type CardNode } from "./node";
import { Help, InputPicker, Toolbar, type PendingConnection } from "./toolbar";

const nodeTypes = { card: Card };
const FIT = { padding: { top: "60px", bottom: "16px", left: "16px", right: "16px" }, maxZoom: 1 } as const;
const DRAG_TYPE = "application/x-pfl-node";

interface Props {
  data: CanvasData;
  log: OpLog;
  refresh: () => void;
}

function Canvas({ data, log, refresh }: Props) {
  const view = useMemo(() => rebase(data, log.pending), [data, log.pending]);
  const { nodes: flowNodes, edges: flowEdges, direction, selected } = view;
  const readonly = Boolean(data.readonly);
  const [nodes, setNodes, onNodesChange] = useNodesState<CardNode>([]);
  const [renaming, setRenaming] = useState<string | null>(null);
  const [query, setQuery] = useState("");
  const [choice, setChoice] = useState<PendingConnection | null>(null);
  const [refused, setRefused] = useState("");
  const [helping, setHelping] = useState(false);
  const [edgeSelected, setEdgeSelected] = useState<string | null>(null);
  const dragging = useRef(false);
  const root = useRef<HTMLDivElement>(null);
  const { fitView, screenToFlowPosition } = useReactFlow();

  const emit = useCallback(
    (op: { op: string; slot?: string; [field: string]: unknown }) => {
      log.emit(op);
      refresh();
    },
    [log, refresh],
  );

  const placed = useMemo(() => autoLayout(flowNodes, flowEdges, direction), [flowNodes, flowEdges, direction]);
  const rename = useCallback(
    (id: string, name: string | null) => {
      setRenaming(null);
      if (name?.trim() && name.trim() !== id) {
        emit({ op: "rename", node: id, name: name.trim() });
      }
    },
    [emit],
  );

  useEffect(() => {
    if (dragging.current) {
      return;
    }
    const wanted = query.trim().toLowerCase();
    setNodes((before) => {
      const measured = new Map(before.map((node) => [node.id, node]));
      return flowNodes.map((node) => {
        const [x, y] = node.position ?? placed.get(node.id) ?? [0, 0];
        return {
          ...measured.get(node.id),
          id: node.id,
          type: "card" as const,
          position: { x, y },
          width: NODE_WIDTH,
          height: NODE_HEIGHT,
          selected: node.id === selected,
          deletable: !readonly && node.kind !== "inputs" && node.kind !== "outputs",
          data: {
            node,
            direction,
            readonly,
            dimmed: wanted !== "" && !node.label.toLowerCase().includes(wanted),
            renaming: renaming === node.id,
            onRename: (name: string | null) => rename(node.id, name),
          },
        };
      });
    });
  }, [flowNodes, placed, selected, direction, readonly, query, renaming, rename, setNodes]);

  const fit = useCallback(() => fitView(FIT), [fitView]);
  const shape = `${direction}:${flowNodes.length === 0}`;
  useEffect(() => {
    const timer = setTimeout(fit, 30);
    return () => clearTimeout(timer);
  }, [shape, fit]);
  useEffect(() => {
    let [width, height] = [0, 0];
    const observer = new ResizeObserver(([{ contentRect: size }]) => {
      if (Math.abs(size.width - width) > 40 || Math.abs(size.height - height) > 40) {
        [width, height] = [size.width, size.height];
        fit();
      }
    });
    observer.observe(root.current!);
    return () => observer.disconnect();
  }, [fit]);

  // An edit elsewhere may rearrange the graph out of sight; under the pointer it never moves.
  const structure = `${flowNodes.map((node) => node.id)} ${flowEdges.map((edge) => edge.id)}`;
  useEffect(() => {
    const timer = setTimeout(() => !root.current?.matches(":hover") && fit(), 60);
    return () => clearTimeout(timer);
  }, [structure, fit]);

  const edges: Edge[] = useMemo(
    () =>
      flowEdges.map((edge) => ({
        id: edge.id,
        source: edge.source,
        target: edge.target,
        label: edge.conditional ? "when" : undefined,
        className: edge.conditional ? "conditional" : "",
        selected: edge.id === edgeSelected,
        deletable: !readonly,
        interactionWidth: 18,
        markerEnd: { type: MarkerType.ArrowClosed, width: 16, height: 16, color: "var(--edge)" },
      })),
    [flowEdges, edgeSelected, readonly],
  );

  const connect = (connection: Connection) => {
    const { source, target } = connection;
    const free = flowNodes.find((node) => node.id === target)?.free ?? [];
    if (free.length > 1) {
      setChoice({ source, target, free });
    } else {
      emit({ op: "connect", source, target, input: free[0] ?? null });
    }
  };

  const isValid = (connection: Connection | Edge) => {
    const cyclic = connection.source === connection.target || wouldCycle(flowEdges, connection.source, connection.target);
    setRefused(cyclic ? `${connection.target} already leads to ${connection.source}: the edge would close a cycle` : "");
    return !cyclic;
  };

  const add = (kind: string, made: { tool?: string; path?: string } = {}, at?: { x: number; y: number }) => {
    const from = flowNodes.find((node) => node.id === selected);
    const position = at ? [at.x - NODE_WIDTH / 2, at.y - NODE_HEIGHT / 2] : null;
    emit({ op: "add", kind, ...made, position, after: from?.id ?? null });
  };

  const onKeyDown = (event: React.KeyboardEvent) => {
    keepPlainKeys(event);
    const command = event.ctrlKey || event.metaKey;
    if (event.key === "F2" && selected && !readonly) {
      setRenaming(selected);
    } else if (command && event.key.toLowerCase() === "z" && !readonly) {
      event.preventDefault();
      emit({ op: event.shiftKey ? "redo" : "undo" });
    } else if (command && event.key.toLowerCase() === "y" && !readonly) {
      event.preventDefault();
      emit({ op: "redo" });
    } else if (command && event.key === "Enter" && selected) {
      emit({ op: "run", node: selected });
    } else if ((command && event.key.toLowerCase() === "f") || event.key === "/") {
      event.preventDefault();
      root.current?.querySelector<HTMLInputElement>(".search input")?.focus();
    } else if (event.key === "?") {
      setHelping(true);
    } else if (event.key.toLowerCase() === "f" && !command) {
      fit();
    }
  };

  return (
    <div
      className="canvas"
      ref={root}
      tabIndex={-1}
      onKeyDown={onKeyDown}
      onDragOver={(event) => {
        event.preventDefault();
        event.dataTransfer.dropEffect = "copy";
      }}
      onDrop={(event) => {
        event.preventDefault();
        const kind = event.dataTransfer.getData(DRAG_TYPE);
        if (kind) {
          add(kind, {}, screenToFlowPosition({ x: event.clientX, y: event.clientY }));
        }
      }}
    >
      <Toolbar
        data={view}
        readonly={readonly}
        dragType={DRAG_TYPE}
        query={query}
        onQuery={setQuery}
        onFind={() => {
          const hit = flowNodes.find((node) => node.label.toLowerCase().includes(query.trim().toLowerCase()));
          if (hit && query.trim()) {
            emit({ op: "select", node: hit.id, slot: "select" });
            fitView({ nodes: [{ id: hit.id }], maxZoom: 1, duration: 200 });
          }
        }}
        onAdd={add}
        onHelp={() => setHelping(!helping)}
        emit={emit}
      />
      {flowNodes.length === 2 && !readonly && <div className="hint">No nodes yet: drag one of those above here, or click it.</div>}
      {refused && <div className="refused" role="alert">{refused}</div>}
      {helping && <Help onClose={() => (setHelping(false), root.current?.focus())} />}
      {choice && (
        <InputPicker
          choice={choice}
          onPick={(input) => {
            setChoice(null);
            emit({ op: "connect", source: choice.source, target: choice.target, input });
          }}
          onCancel={() => setChoice(null)}
        />
      )}
      <ReactFlow
        nodes={nodes}
        edges={edges}
        nodeTypes={nodeTypes}
        onNodesChange={onNodesChange}
        nodesDraggable={!readonly}
        nodesConnectable={!readonly}
        onNodeDragStart={() => (dragging.current = true)}
        onNodeDragStop={(_, __, moved) => {
          dragging.current = false;
          const positions = Object.fromEntries(moved.map((n) => [n.id, [Math.round(n.position.x), Math.round(n.position.y)]]));
          emit({ op: "move", positions });
        }}
        onNodeClick={(_, node) => {
          setEdgeSelected(null);
          if (node.id !== selected) {
            emit({ op: "select", node: node.id, slot: "select" });
          }
        }}
        onNodeDoubleClick={(_, node) => !readonly && node.deletable && setRenaming(node.id)}
        onEdgeClick={(_, edge) => setEdgeSelected(edge.id)}
        onPaneClick={() => {
          setEdgeSelected(null);
          root.current?.focus();
        }}
        onConnect={connect}
        onConnectEnd={() => setTimeout(() => setRefused(""), 2500)}
        isValidConnection={isValid}
        onDelete={({ nodes: gone, edges: cut }) => {
          root.current?.focus(); // what had the focus is gone, and Ctrl+Z shall still reach the canvas
          const ids = gone.map((node) => node.id);
          if (ids.length) {
            emit({ op: "delete", nodes: ids });
          }
          cut
            .filter((edge) => !ids.includes(edge.source) && !ids.includes(edge.target))
            .forEach((edge) => emit({ op: "disconnect", source: edge.source, target: edge.target }));
        }}
        deleteKeyCode={["Delete", "Backspace"]}
        minZoom={0.05}
        maxZoom={1.75}
        panOnScroll
        zoomActivationKeyCode="Control"
        fitView
        fitViewOptions={FIT}
      >
        <Background variant={BackgroundVariant.Dots} gap={18} size={1} color="var(--line)" />
        <Controls showInteractive={false} />
        {flowNodes.length > 8 && <MiniMap pannable zoomable nodeColor="var(--edge)" />}
      </ReactFlow>
    </div>
  );
}

export function App(props: Props) {
  return (
    <ReactFlowProvider>
      <Canvas {...props} />
    </ReactFlowProvider>
  );
}
