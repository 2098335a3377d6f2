// A command line's world in memory.

import type { CliIo, StopSignal } from '../../src/cli/io.ts';
import { runCli } from '../../src/cli/run-cli.ts';
import type { StartWeir } from '../../src/cli/serve.ts';

export class HandIo implements CliIo {
  out = '';
  err = '';
  stdin = '';
  isTerminal = false;
  environment: Record<string, string | undefined> = {};
  readonly listeners: { signal: StopSignal; listener: () => void }[] = [];
  readonly stdout = this.#makeWriter((text) => {
    this.out += text;
  });
  readonly stderr = this.#makeWriter((text) => {
    this.err += text;
  });

  async readStdin(): Promise<string> {
    return this.stdin;
  }

  onSignal(signal: StopSignal, listener: () => void): () => void {
    const entry = { signal, listener };
    this.listeners.push(entry);
    return () => {
      this.listeners.splice(this.listeners.indexOf(entry), 1);
    };
  }

  raise(signal: StopSignal): void {
    for (const entry of [...this.listeners]) if (entry.signal === signal) entry.listener();
  }

  #makeWriter(write: (text: string) => void) {
    const isTerminal = (): boolean => this.isTerminal;
    return {
      write,
      get isTerminal() {
        return isTerminal();
      },
    };
  }
}

const neverStarted: StartWeir = () => Promise.reject(new Error('this command must not start anything'));

export async function run(
  argv: readonly string[],
  io = new HandIo(),
  start = neverStarted,
): Promise<{ code: number; out: string; err: string }> {
  const code = await runCli(argv, io, start);
  return { code, out: io.out, err: io.err };
}
