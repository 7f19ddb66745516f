import "../shared/theme.css";
import "./cells.css";
import { createElement, type ReactNode } from "react";
import { createRoot, type Root } from "react-dom/client";
import { OpLog } from "../shared/oplog";
import { fitHeight, keepPlainKeys, mountPoint, type ComponentArgs } from "../shared/streamlit";
import { Code, Diff } from "./code";
import type { CellData, Emit } from "./model";
import { Notebook } from "./notebook";

interface Mounted {
  root: Root;
  log: OpLog;
}

const mounted = new WeakMap<object, Mounted>();

function content(data: CellData, log: OpLog, emit: Emit): ReactNode {
  if (data.mode === "notebook") {
    return createElement(Notebook, { data, log, emit });
  }
  if (data.mode === "diff") {
    return createElement(Diff, data);
  }
  const slot = `text:${data.id}`;
  return createElement(Code, {
    ...data,
    key: data.id,
    label: data.id,
    unsent: log.has(slot),
    onCommit: (text: string) => emit({ op: "set_text", path: data.id, text, slot }),
    onRun: () => emit({ op: "run", path: data.id }),
  });
}

export default function codeCell(args: ComponentArgs<CellData>): () => void {
  const { data, parentElement } = args;
  const send = (ops: unknown) => args.setStateValue("ops", ops);
  let entry = mounted.get(parentElement);
  if (!entry) {
    const mount = mountPoint(parentElement);
    mount.addEventListener("keydown", keepPlainKeys);
    entry = { root: createRoot(mount), log: new OpLog(send) };
    mounted.set(parentElement, entry);
  }
  const { root, log } = entry;
  fitHeight(parentElement, data.height);
  log.setSender(send);
  log.settle(data.ack, data.epoch);
  const emit: Emit = (...ops) => {
    log.emit(...ops);
    render();
  };
  const render = () => root.render(content({ ...data }, log, emit));
  render();
  return () => {
    root.unmount();
    log.close();
    mounted.delete(parentElement);
  };
}
