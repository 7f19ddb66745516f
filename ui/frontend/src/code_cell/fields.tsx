/** Small editable fields that send on Enter or when left, never on each key. */
import { useEffect, useId, useRef, useState } from "react";

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
  /** Names to offer, where no shared list has them. */
  options?: string[];
  onAdd: (name: string) => void;
}

export function AddRow({ placeholder, label, list, options, onAdd }: AddRowProps) {
  const [text, setText] = useState("");
  const own = useId();
  const add = () => {
    if (text.trim()) {
      onAdd(text.trim());
      setText("");
    }
  };
  return (
    <>
      {options && (
        <datalist id={own}>
          {options.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
      )}
      <input
        className="add-row"
        aria-label={label}
        placeholder={placeholder}
        list={options ? own : list}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onBlur={add}
        onKeyDown={(event) => event.key === "Enter" && add()}
      />
    </>
  );
}
