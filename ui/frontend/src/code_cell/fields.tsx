/** Small editable fields that send on Enter or when left, never on each key. */
import { useEffect, useRef, useState } from "react";

interface FieldProps {
  value: string;
  label: string;
  list?: string;
  placeholder?: string;
  className?: string;
  disabled?: boolean;
  onCommit: (value: string) => void;
}

export function Field({ value, label, list, placeholder, className, disabled, onCommit }: FieldProps) {
  const [text, setText] = useState(value);
  const focused = useRef(false);
  useEffect(() => {
    if (!focused.current) {
      setText(value);
    }
  }, [value]);
  const send = () => {
    if (text !== value) {
      onCommit(text);
    }
  };
  return (
    <input
      aria-label={label}
      className={className}
      value={text}
      list={list}
      placeholder={placeholder}
      disabled={disabled}
      spellCheck={false}
      onFocus={() => (focused.current = true)}
      onBlur={() => {
        focused.current = false;
        send();
      }}
      onChange={(event) => setText(event.target.value)}
      onKeyDown={(event) => {
        if (event.key === "Enter") {
          send();
        } else if (event.key === "Escape") {
          setText(value);
        }
      }}
    />
  );
}

interface AddRowProps {
  placeholder: string;
  label: string;
  list?: string;
  onAdd: (name: string) => void;
}

export function AddRow({ placeholder, label, list, onAdd }: AddRowProps) {
  const [text, setText] = useState("");
  const add = () => {
    if (text.trim()) {
      onAdd(text.trim());
      setText("");
    }
  };
  return (
    <input
      className="add-row"
      aria-label={label}
      placeholder={placeholder}
      list={list}
      value={text}
      onChange={(event) => setText(event.target.value)}
      onBlur={add}
      onKeyDown={(event) => event.key === "Enter" && add()}
    />
  );
}
