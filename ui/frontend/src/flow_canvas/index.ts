import "@xyflow/react/dist/style.css";
import "../shared/theme.css";
import "./canvas.css";
import { createElement } from "react";
import { createRoot, type Root } from "react-dom/client";
import { OpLog } from "../shared/oplog";
import { fitHeight, mountPoint, type ComponentArgs } from "../shared/streamlit";
import { App } from "./canvas";
import type { CanvasData } from "./model";

interface Mounted {
  root: Root;
  log: OpLog;
}

const mounted = new WeakMap<object, Mounted>();

export default function flowCanvas(args: ComponentArgs<CanvasData>): () => void {
  const { data, parentElement } = args;
  const send = (ops: unknown) => args.setStateValue("ops", ops);
  let entry = mounted.get(parentElement);
  if (!entry) {
    entry = { root: createRoot(mountPoint(parentElement)), log: new OpLog(send) };
    mounted.set(parentElement, entry);
  }
  const { root, log } = entry;
  fitHeight(parentElement, data.height);
  log.setSender(send);
  log.settle(data.ack, data.epoch);
  const render = () => root.render(createElement(App, { data: { ...data }, log, refresh: render }));
  render();
  return () => {
    root.unmount();
    log.close();
    mounted.delete(parentElement);
  };
}
