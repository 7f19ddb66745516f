/** CodeMirror set up for the languages of a flow, coloured by the page's theme. */
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { jinja } from "@codemirror/lang-jinja";
import { json } from "@codemirror/lang-json";
import { markdown } from "@codemirror/lang-markdown";
import { python } from "@codemirror/lang-python";
import { yaml, yamlFrontmatter } from "@codemirror/lang-yaml";
import { bracketMatching, foldGutter, foldKeymap, HighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, setDiagnostics, type Diagnostic } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState, Prec, type Extension } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers } from "@codemirror/view";
import { tags as t } from "@lezer/highlight";

export interface Lint {
  line: number;
  column?: number | null;
  message: string;
  severity: "error" | "warning" | "info";
}

export interface Suggestion {
  label: string;
  detail?: string;
}

export type Language = "jinja" | "prompty" | "python" | "yaml" | "json" | "markdown" | "text";

const colours = HighlightStyle.define([
  { tag: [t.keyword, t.controlKeyword, t.operatorKeyword, t.moduleKeyword], color: "var(--st-violet-text-color)" },
  { tag: [t.string, t.special(t.string)], color: "var(--st-green-text-color)" },
  { tag: [t.number, t.bool, t.null, t.atom], color: "var(--st-orange-text-color)" },
  { tag: [t.comment, t.meta], color: "var(--muted)", fontStyle: "italic" },
  { tag: [t.function(t.variableName), t.definition(t.variableName), t.className], color: "var(--st-blue-text-color)" },
  { tag: [t.propertyName, t.attributeName, t.definition(t.propertyName)], color: "var(--st-blue-text-color)" },
  { tag: [t.brace, t.processingInstruction, t.tagName], color: "var(--st-violet-text-color)" },
  { tag: t.heading, fontWeight: "600", color: "var(--st-blue-text-color)" },
  { tag: t.invalid, color: "var(--bad)" },
]);

const theme = EditorView.theme({
  "&": { backgroundColor: "var(--paper)", color: "var(--ink)", fontSize: "13px", height: "100%" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--st-code-font)", lineHeight: "1.55", overflow: "auto" },
  ".cm-content": { caretColor: "var(--ink)", padding: "6px 0" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "transparent", color: "var(--muted)", border: "none", opacity: "0.75" },
  ".cm-lineNumbers .cm-gutterElement": { minWidth: "28px" },
  ".cm-activeLine": { backgroundColor: "transparent" },
  "&.cm-focused .cm-activeLine": { backgroundColor: "color-mix(in srgb, var(--accent) 7%, transparent)" },
  ".cm-activeLineGutter": { backgroundColor: "transparent" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground, ::selection": { backgroundColor: "color-mix(in srgb, var(--accent) 26%, transparent) !important" },
  ".cm-tooltip": { backgroundColor: "var(--paper)", color: "var(--ink)", border: "1px solid var(--line)", borderRadius: "6px", zIndex: "20" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent)", color: "#fff" },
  ".cm-panels": { backgroundColor: "var(--shade)", color: "var(--ink)" },
  ".cm-diagnostic": { fontFamily: "var(--st-font)" },
  ".cm-mergeView, .cm-merge-b, .cm-merge-a": { backgroundColor: "var(--paper)" },
});

const languages: Record<Language, () => Extension> = {
  jinja: () => jinja({ base: markdown() }),
  prompty: () => yamlFrontmatter({ content: jinja({ base: markdown() }) }),
  python: () => python(),
  yaml: () => yaml(),
  json: () => json(),
  markdown: () => markdown(),
  text: () => [],
};

/** What every editor shares, whether it can be edited or not. */
export function baseExtensions(language: Language, readonly: boolean): Extension[] {
  return [
    lineNumbers(),
    foldGutter(),
    drawSelection(),
    bracketMatching(),
    highlightSelectionMatches(),
    EditorView.lineWrapping,
    languages[language]?.() ?? [],
    syntaxHighlighting(colours),
    theme,
    EditorState.readOnly.of(readonly),
    EditorView.editable.of(!readonly),
    keymap.of([...searchKeymap, ...foldKeymap]),
  ];
}

/** Offers names inside `{{ … }}` and `{% … %}`, and references after `$` in YAML. */
function completer(language: Language, suggestions: () => Suggestion[]) {
  return (context: CompletionContext): CompletionResult | null => {
    const line = context.state.doc.lineAt(context.pos);
    const before = line.text.slice(0, context.pos - line.from);
    const word = language === "yaml" ? /\$\{?[\w.]*$/.exec(before) : /(?:\{\{|\{%)[^}]*?([A-Za-z_][\w.]*)?$/.exec(before);
    if (!word || !["yaml", "jinja", "prompty"].includes(language)) {
      return null;
    }
    const typed = language === "yaml" ? word[0] : (word[1] ?? "");
    return {
      from: context.pos - typed.length,
      options: suggestions().map(({ label, detail }) => ({ label, detail, type: "variable" })),
      validFor: /^[$\w.{}]*$/,
    };
  };
}

export interface EditorEvents {
  /** The text changed and the editor lost focus, was saved, or rested. */
  commit: (text: string) => void;
  /** Ctrl+Enter, after the commit. */
  run: () => void;
  focus: () => void;
}

export interface Editor {
  view: EditorView;
  isDirty: () => boolean;
  flush: () => void;
  replace: (text: string) => void;
  lint: (marks: Lint[]) => void;
  destroy: () => void;
}

const REST_MS = 600;

export function createEditor(
  parent: HTMLElement,
  root: Document | ShadowRoot,
  options: { text: string; language: Language; readonly: boolean; suggestions: () => Suggestion[]; label: string },
  events: EditorEvents,
): Editor {
  let committed = options.text;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    clearTimeout(timer);
    const text = view.state.doc.toString();
    if (text !== committed) {
      committed = text;
      events.commit(text);
    }
  };
  const view = new EditorView({
    parent,
    root,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        Prec.highest(
          keymap.of([
            { key: "Mod-Enter", run: () => (flush(), events.run(), true) },
            { key: "Mod-s", preventDefault: true, run: () => (flush(), true) },
          ]),
        ),
        baseExtensions(options.language, options.readonly),
        options.readonly ? [] : [history(), indentOnInput(), closeBrackets(), highlightActiveLine(), highlightActiveLineGutter(), lintGutter()],
        autocompletion({ override: [completer(options.language, options.suggestions)], icons: false }),
        keymap.of([...completionKeymap, ...closeBracketsKeymap, ...historyKeymap, ...defaultKeymap, indentWithTab]),
        EditorView.contentAttributes.of({ "aria-label": options.label }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) {
            clearTimeout(timer);
            timer = setTimeout(flush, REST_MS);
          }
          if (update.focusChanged) {
            if (view.hasFocus) events.focus();
            else flush();
          }
        }),
      ],
    }),
  });
  return {
    view,
    flush,
    isDirty: () => view.state.doc.toString() !== committed,
    replace: (text) => {
      if (text !== view.state.doc.toString()) {
        committed = text;
        const head = Math.min(view.state.selection.main.head, text.length);
        view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text }, selection: { anchor: head } });
        clearTimeout(timer);
      }
      committed = text;
    },
    lint: (marks) => view.dispatch(setDiagnostics(view.state, marks.map((mark) => diagnostic(view.state, mark)))),
    destroy: () => {
      flush();
      view.destroy();
    },
  };
}

function diagnostic(state: EditorState, mark: Lint): Diagnostic {
  const line = state.doc.line(Math.min(Math.max(mark.line, 1), state.doc.lines));
  const from = Math.min(line.from + Math.max((mark.column ?? 1) - 1, 0), line.to);
  return { from, to: line.to, message: mark.message, severity: mark.severity };
}
