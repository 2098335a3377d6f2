#!/usr/bin/env node
// The process: arguments, environment, standard streams and signals, handed to the command line. Nothing else in src/
// reads arguments, environment or stdin, listens to signals, or ends the process.

import { text } from 'node:stream/consumers';
import { startWeir } from './app.ts';
import { type CliIo, type CliWriter, EXIT } from './cli/io.ts';
import { runCli } from './cli/run-cli.ts';

function makeWriter(stream: NodeJS.WriteStream, onLost: (error: Error) => void): CliWriter {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // A reader that has gone away (`| head`) is no reason to fail.
    if (error.code !== 'EPIPE') onLost(error);
  });
  return { isTerminal: stream.isTTY === true, write: (chunk) => void stream.write(chunk) };
}

/** A command whose output is lost, on a full disk for one, has failed whatever it found; a lost log ends nothing. */
function failUnwritten(error: Error): never {
  process.stderr.write(`cannot write the output: ${error.message}\n`);
  process.exit(EXIT.error);
}

const io: CliIo = {
  stdout: makeWriter(process.stdout, failUnwritten),
  stderr: makeWriter(process.stderr, () => undefined),
  environment: process.env,
  readStdin: () => text(process.stdin),
  onSignal: (signal, listener) => {
    process.on(signal, listener);
    return () => process.off(signal, listener);
  },
};

const exitCode = await runCli(process.argv.slice(2), io, startWeir);
// Written out first: exit() would cut what a pipe has not taken yet. That it could not be written is told a tick later.
process.stdout.write('', () => setImmediate(() => process.exit(exitCode)));
