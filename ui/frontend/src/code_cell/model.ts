/** What Python sends to the cells. */
import type { Language, Lint, Suggestion } from "./editor";

export interface InputRow {
  name: string;
  value: string;
  kind: "reference" | "literal" | "missing" | "setting";
  type?: string;
  hint?: string;
  options?: string[];
}

export interface CellError {
  message: string;
  hint?: string;
  where?: string;
  line?: number | null;
}

export interface Cell {
  id: string;
  kind: string;
  status?: string;
  ms?: number | null;
  /** When it started, in seconds of the epoch, while it runs. */
  since?: number | null;
  tokens?: number | null;
  cached?: boolean;
  path: string;
  language: Language;
  text: string | null;
  readonly?: boolean;
  lints: Lint[];
  suggestions: Suggestion[];
  inputs: InputRow[];
  connection?: string | null;
  api?: string | null;
  variants: string[];
  variant: string | null;
  default_variant: string | null;
  /** Names of inputs that are declared and not set. */
  addable: string[];
  activate: { when: string; operator: string; value: string } | null;
  for_each: string;
  concurrency: string;
  aggregation: boolean;
  note?: string;
  output: string | null;
  output_language: Language;
  error: CellError | null;
  log: string;
  rendered: string | null;
}

export interface FlowInputRow {
  name: string;
  type: string;
  default: string;
  test: string;
}

export interface FlowOutputRow {
  name: string;
  reference: string;
}

export interface NotebookData {
  height?: string;
  mode: "notebook";
  cells: Cell[];
  inputs: FlowInputRow[];
  outputs: FlowOutputRow[];
  types: string[];
  references: string[];
  /** How a condition may compare. */
  operators: string[];
  connections: string[];
  selected: string | null;
  busy: boolean;
  readonly?: boolean;
  ack: number;
  epoch: string;
}

export interface EditorData {
  height?: string;
  mode: "editor";
  id: string;
  text: string;
  language: Language;
  readonly?: boolean;
  lints?: Lint[];
  suggestions?: Suggestion[];
  ack: number;
  epoch: string;
}

export interface DiffData {
  height?: string;
  mode: "diff";
  before: string;
  after: string;
  language: Language;
  unified?: boolean;
  ack: number;
  epoch: string;
}

export type CellData = NotebookData | EditorData | DiffData;

export type Emit = (...ops: Array<{ op: string; slot?: string; [field: string]: unknown }>) => void;
