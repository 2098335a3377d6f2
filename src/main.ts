#!/usr/bin/env node
// The process: arguments, environment, standard streams and signals, handed to the command line. Nothing else in src/
// reads arguments, environment or stdin, listens to signals, or ends the process.

import { text } from 'node:stream/consumers';
import { startWeir } from './app.ts';
import type { CliIo, CliWriter } from './cli/io.ts';
import { runCli } from './cli/run-cli.ts';

function makeWriter(stream: NodeJS.WriteStream): CliWriter {
  // A reader that has gone away (`| head`) is no reason to crash.
  stream.on('error', () => undefined);
  return { isTerminal: stream.isTTY === true, write: (chunk) => void stream.write(chunk) };
}

const io: CliIo = {
  stdout: makeWriter(process.stdout),
  stderr: makeWriter(process.stderr),
  environment: process.env,
  readStdin: () => text(process.stdin),
  onSignal: (signal, listener) => {
    process.on(signal, listener);
    return () => process.off(signal, listener);
  },
};

const exitCode = await runCli(process.argv.slice(2), io, startWeir);
// Written out first: exit() would cut what a pipe has not taken yet.
process.stdout.write('', () => process.exit(exitCode));
