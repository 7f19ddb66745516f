/** Places the nodes that the user has not placed. */
import dagre from "@dagrejs/dagre";
import type { CanvasEdge, CanvasNode } from "./model";

export const NODE_WIDTH = 188;
export const NODE_HEIGHT = 54;

export function autoLayout(nodes: CanvasNode[], edges: CanvasEdge[], direction: "TB" | "LR"): Map<string, [number, number]> {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: direction, nodesep: direction === "TB" ? 28 : 20, ranksep: direction === "TB" ? 46 : 60 });
  graph.setDefaultEdgeLabel(() => ({}));
  nodes.forEach((node) => graph.setNode(node.id, { width: NODE_WIDTH, height: NODE_HEIGHT }));
  edges.filter((edge) => graph.hasNode(edge.source) && graph.hasNode(edge.target)).forEach((edge) => graph.setEdge(edge.source, edge.target));
  dagre.layout(graph);
  return new Map(
    nodes.map((node) => {
      const { x, y } = graph.node(node.id);
      return [node.id, [x - NODE_WIDTH / 2, y - NODE_HEIGHT / 2] as [number, number]];
    }),
  );
}
