/** A line's trace: who called whom, when, for how long. Plain DOM, so that a thousand spans stay light. */
import "../shared/theme.css";
import "./waterfall.css";
import { keepPlainKeys, mountPoint, type ComponentArgs } from "../shared/streamlit";

interface SpanRow {
  id: string;
  depth: number;
  name: string;
  kind: string;
  start_ms: number;
  duration_ms: number;
  status: string;
  tokens?: number;
  note?: string;
}

interface TraceData {
  spans: SpanRow[];
  total_ms: number;
  selected: string | null;
}

const collapsed = new WeakMap<object, Set<string>>();

function text(tag: string, className: string, content = ""): HTMLElement {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = content;
  return element;
}

function shown(ms: number): string {
  return ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

function visibleSpans(spans: SpanRow[], closed: Set<string>): SpanRow[] {
  let hiddenBelow: number | null = null;
  return spans.filter((span) => {
    if (hiddenBelow !== null && span.depth > hiddenBelow) {
      return false;
    }
    hiddenBelow = closed.has(span.id) ? span.depth : null;
    return true;
  });
}

function spanRow(span: SpanRow, data: TraceData, hasChildren: boolean, isClosed: boolean): HTMLElement {
  const row = text("div", `span kind-${span.kind.toLowerCase()} ${span.status} ${span.id === data.selected ? "selected" : ""}`);
  row.tabIndex = 0;
  row.role = "button";
  row.dataset.span = span.id;
  const name = text("div", "span-name");
  name.style.paddingLeft = `${span.depth * 16}px`;
  const toggle = text("span", "toggle", hasChildren ? (isClosed ? "+" : "−") : "");
  name.append(toggle, text("span", `dot ${span.status}`), text("span", "label", span.name), text("span", "badge", span.kind));
  const track = text("div", "track");
  const bar = text("div", "bar");
  const total = Math.max(data.total_ms, 0.001);
  bar.style.left = `${Math.min((span.start_ms / total) * 100, 99.5)}%`;
  bar.style.width = `${Math.max((span.duration_ms / total) * 100, 0.4)}%`;
  track.append(bar);
  const facts = [shown(span.duration_ms), span.tokens ? `${span.tokens} tok` : "", span.note ?? ""].filter(Boolean).join(" · ");
  row.append(name, track, text("div", "span-facts", facts));
  return row;
}

export default function traceWaterfall(args: ComponentArgs<TraceData>): void {
  const { data, parentElement, setStateValue } = args;
  const mount = mountPoint(parentElement);
  const closed = collapsed.get(parentElement) ?? new Set<string>();
  collapsed.set(parentElement, closed);

  const draw = () => {
    const rows = visibleSpans(data.spans, closed).map((span) => {
      const index = data.spans.indexOf(span);
      const hasChildren = (data.spans[index + 1]?.depth ?? 0) > span.depth;
      const row = spanRow(span, data, hasChildren, closed.has(span.id));
      row.querySelector(".toggle")!.addEventListener("click", (event) => {
        event.stopPropagation();
        if (!closed.delete(span.id)) closed.add(span.id);
        draw();
      });
      const choose = () => setStateValue("selected", span.id);
      row.addEventListener("click", choose);
      row.addEventListener("keydown", (event) => {
        keepPlainKeys(event);
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          choose();
        }
      });
      return row;
    });
    mount.replaceChildren(...rows);
  };
  draw();
}
