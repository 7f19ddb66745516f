/**
 * Edits travel to Python as a log of operations in a state value. The server says how far it has applied them (`ack`);
 * what it has not seen yet is laid over every snapshot, so a quick hand never loses a gesture to a slow rerun.
 */

export interface Op {
  seq: number;
  op: string;
  [field: string]: unknown;
}

export class OpLog {
  pending: Op[] = [];
  private seq = 0;
  private epoch: string | undefined;

  constructor(private send: (ops: Op[]) => void) {}

  setSender(send: (ops: Op[]) => void): void {
    this.send = send;
  }

  /** Drop what the server has applied; start again when the server's session is a new one. */
  settle(ack: number, epoch: string): void {
    if (this.epoch !== epoch) {
      this.epoch = epoch;
      this.pending = [];
      this.seq = ack;
    }
    this.seq = Math.max(this.seq, ack);
    this.pending = this.pending.filter((op) => op.seq > ack);
  }

  /** Append operations and send all pending ones; an operation with a `slot` replaces the pending one of that slot. */
  emit(...ops: Array<{ op: string; slot?: string; [field: string]: unknown }>): void {
    for (const op of ops) {
      this.seq += 1;
      if (op.slot) {
        this.pending = this.pending.filter((other) => other.slot !== op.slot);
      }
      this.pending = [...this.pending, { ...op, seq: this.seq }];
    }
    this.send(this.pending);
  }

  has(slot: string): boolean {
    return this.pending.some((op) => op.slot === slot);
  }
}
