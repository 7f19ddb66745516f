/** The few parts of Streamlit's component protocol that we use. */

export interface ComponentArgs<Data> {
  data: Data;
  key: string;
  parentElement: HTMLElement | ShadowRoot;
  setStateValue: (name: string, value: unknown) => void;
}

/** The element that the component's html declares. */
export function mountPoint(parent: HTMLElement | ShadowRoot): HTMLElement {
  return parent.querySelector<HTMLElement>(".pfl-mount")!;
}

/** Streamlit binds single letters to actions of its own; keep them away while the focus is inside a component. */
export function keepPlainKeys(event: { key: string; ctrlKey: boolean; metaKey: boolean; stopPropagation: () => void }): void {
  if (event.key.length === 1 && !event.ctrlKey && !event.metaKey) {
    event.stopPropagation();
  }
}

/** Give the component the height that Python asks for, any CSS length. */
export function fitHeight(parent: HTMLElement | ShadowRoot, height: string | undefined): void {
  mountPoint(parent).style.height = height ?? "";
}
