// Ends what tests started when the process that started it is gone, however that ended: even SIGKILL closes a pipe.

import { spawn } from 'node:child_process';

/** Tells the watchdog that all is well: it ends without doing anything. */
export type CallOff = () => void;

/**
 * Runs `script` (of sh, with `args` as $1, $2, …) when this process ends without having called the watchdog off. Does
 * not keep this process alive.
 */
export function setWatchdog(script: string, args: readonly string[]): CallOff {
  // A line on the pipe is the call-off; its end without a line is the alarm.
  const child = spawn('sh', ['-c', `read -r line || { ${script}\n}`, 'watchdog', ...args], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
  });
  child.on('error', () => undefined);
  child.stdin.on('error', () => undefined);
  child.unref();
  if ('unref' in child.stdin && typeof child.stdin.unref === 'function') child.stdin.unref();
  return () => {
    child.stdin.end('\n');
  };
}
