/**
 * Edits travel to Python as a log of operations in a state value. The server says how far it has applied them (`ack`);
 * what it has not seen yet is laid over every snapshot, so a quick hand never loses a gesture to a slow rerun.
 */

export interface Op {
  seq: number;
  op: string;
  [field: string]: unknown;
}

const RESEND_MS = 2000;
const LONGEST_WAIT_MS = 30_000;

export class OpLog {
  pending: Op[] = [];
  private seq = 0;
  private epoch: string | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private wait = RESEND_MS;

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
    this.watch();
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
    this.watch();
  }

  /** Send again what stays unacknowledged, ever more rarely: a connection may have broken, a rerun may have been dropped. */
  private watch(): void {
    if (!this.pending.length) {
      clearTimeout(this.timer);
      this.timer = undefined;
      this.wait = RESEND_MS;
    } else if (this.timer === undefined) {
      this.timer = setTimeout(() => {
        this.timer = undefined;
        this.wait = Math.min(this.wait * 2, LONGEST_WAIT_MS);
        this.send(this.pending);
        this.watch();
      }, this.wait);
    }
  }

  /** Stop sending: the component is gone. */
  close(): void {
    clearTimeout(this.timer);
  }

  has(slot: string): boolean {
    return this.pending.some((op) => op.slot === slot);
  }
}
