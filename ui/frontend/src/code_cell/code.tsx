/** React faces of the editor: one text, and two texts beside each other. */
import { MergeView, unifiedMergeView } from "@codemirror/merge";
import { EditorView } from "@codemirror/view";
import { useEffect, useRef } from "react";
import { baseExtensions, createEditor, type Editor, type Language, type Lint, type Suggestion } from "./editor";

interface CodeProps {
  text: string;
  language: Language;
  readonly?: boolean;
  lints?: Lint[];
  suggestions?: Suggestion[];
  label: string;
  /** A commit of this text is still on its way: the server's text is older than ours. */
  unsent?: boolean;
  onCommit?: (text: string) => void;
  onRun?: () => void;
  onFocus?: () => void;
}

export function Code(props: CodeProps) {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<Editor | null>(null);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    const created = createEditor(
      host.current!,
      host.current!.getRootNode() as Document | ShadowRoot,
      {
        text: latest.current.text,
        language: props.language,
        readonly: Boolean(props.readonly),
        label: props.label,
        suggestions: () => latest.current.suggestions ?? [],
      },
      {
        commit: (text) => latest.current.onCommit?.(text),
        run: () => latest.current.onRun?.(),
        focus: () => latest.current.onFocus?.(),
      },
    );
    editor.current = created;
    return () => created.destroy();
  }, [props.language, props.readonly, props.label]);

  useEffect(() => {
    if (editor.current && !props.unsent && !editor.current.isDirty()) {
      editor.current.replace(props.text);
    }
  }, [props.text, props.unsent]);

  const marks = JSON.stringify(props.lints ?? []);
  useEffect(() => editor.current?.lint(JSON.parse(marks)), [marks, props.text]);

  return <div className="code" ref={host} />;
}

interface DiffProps {
  before: string;
  after: string;
  language: Language;
  unified?: boolean;
}

export function Diff({ before, after, language, unified }: DiffProps) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const parent = host.current!;
    const root = parent.getRootNode() as Document | ShadowRoot;
    const extensions = baseExtensions(language, true);
    const collapseUnchanged = { margin: 3, minSize: 6 };
    if (unified) {
      const merge = unifiedMergeView({ original: before, mergeControls: false, collapseUnchanged });
      const view = new EditorView({ parent, root, doc: after, extensions: [extensions, merge] });
      return () => view.destroy();
    }
    const view = new MergeView({ parent, root, a: { doc: before, extensions }, b: { doc: after, extensions }, collapseUnchanged });
    return () => view.destroy();
  }, [before, after, language, unified]);
  return <div className="code diff" ref={host} />;
}
