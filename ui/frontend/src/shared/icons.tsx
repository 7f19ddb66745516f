/** Line icons drawn inline, so that no font or network is needed; times as people read them. */
import { useEffect, useState } from "react";

const paths: Record<string, string> = {
  llm: "M12 3l1.9 5.1L19 10l-5.1 1.9L12 17l-1.9-5.1L5 10l5.1-1.9zM18 15l.8 2.2L21 18l-2.2.8L18 21l-.8-2.2L15 18l2.2-.8z",
  prompt: "M5 5h14M5 10h14M5 15h9",
  python: "M8 8l-4 4 4 4M16 8l4 4-4 4M13.5 5l-3 14",
  flow: "M4 5h6v5H4zM14 14h6v5h-6zM10 7.5h4a3 3 0 0 1 3 3V14",
  tool: "M14.5 6.5a4 4 0 0 0-5.3 5L4 16.7 7.3 20l5.2-5.2a4 4 0 0 0 5-5.3L15 12l-3-3z",
  custom_llm: "M12 3l1.9 5.1L19 10l-5.1 1.9L12 17l-1.9-5.1L5 10l5.1-1.9z",
  for_each: "M17 3l3 3-3 3M4 11V9a3 3 0 0 1 3-3h13M7 21l-3-3 3-3M20 13v2a3 3 0 0 1-3 3H4",
  prompty: "M5 5h14M5 10h14M5 15h9",
  help: "M9.2 9a3 3 0 1 1 4.2 2.8c-.9.4-1.4 1-1.4 2.2M12 17.5v.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  options: "M4 7h10M18 7h2M4 17h2M10 17h10M14 5v4M8 15v4",
  inputs: "M4 12h11M11 7l5 5-5 5M20 5v14",
  outputs: "M4 5v14M8 12h12M15 7l5 5-5 5",
  play: "M7 5l11 7-11 7z",
  playto: "M5 5l9 7-9 7zM19 5v14",
  plus: "M12 5v14M5 12h14",
  undo: "M9 14L4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
  redo: "M15 14l5-5-5-5M20 9H10a6 6 0 0 0 0 12h3",
  layout: "M9 3h6v5H9zM3 16h6v5H3zM15 16h6v5h-6zM12 8v4M6 16v-4h12v4",
  turn: "M4 7h12M13 4l3 3-3 3M20 17H8M11 14l-3 3 3 3",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16.5 16.5L21 21",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  more: "M12 5v.01M12 12v.01M12 19v.01",
  close: "M6 6l12 12M18 6L6 18",
  chevron: "M9 6l6 6-6 6",
  star: "M12 4l2.5 5.2 5.5.8-4 4 1 5.6-5-2.7-5 2.7 1-5.6-4-4 5.5-.8z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  alert: "M12 4l9 16H3zM12 10v4M12 17v.01",
  repeat: "M17 3l3 3-3 3M4 11V9a3 3 0 0 1 3-3h13M7 21l-3-3 3-3M20 13v2a3 3 0 0 1-3 3H4",
  branch: "M6 4v10M6 14a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM18 4a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM18 10a7 7 0 0 1-7 7H9",
};

export function Icon({ name }: { name: string }) {
  return (
    <svg className="ic" viewBox="0 0 24 24" aria-hidden="true">
      <path d={paths[name] ?? paths.tool} />
    </svg>
  );
}

/** Time since a moment in seconds of the epoch, counting on. */
export function Elapsed({ since }: { since: number }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 200);
    return () => clearInterval(timer);
  }, []);
  return <>{duration(Math.max(now - since * 1000, 0))}</>;
}

/** `0.8 s`, `12 ms`. */
export function duration(ms: number | null | undefined): string {
  if (ms == null) {
    return "";
  }
  return ms >= 1000 ? `${(ms / 1000).toFixed(ms >= 10000 ? 0 : 1)} s` : `${Math.round(ms)} ms`;
}
