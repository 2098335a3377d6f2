// Sockets read into one buffer that they all share: what is read is looked at, and copied out where it must last, before
// the next read. Node's own 'data' events allocate 64 KB for each read and cut it down again; without them a relayed
// transaction takes about a tenth less CPU (test/bench).

import { type BoundSocket, type OnReadOpts, Socket } from 'node:net';

const READ_BYTES = 65_536;

let shared: Buffer | null = null;

/** Where the bytes of one socket go. `receive` may be changed at any time; `buffer[0, length)` is only valid during the call. */
export class Inlet {
  receive: (buffer: Buffer, length: number) => void = () => undefined;

  /** For `net.connect` and `new Socket`. */
  get onread(): OnReadOpts {
    shared ??= Buffer.allocUnsafeSlow(READ_BYTES);
    const buffer = shared;
    return {
      buffer,
      callback: (length) => {
        this.receive(buffer, length);
        return true;
      },
    };
  }
}

/**
 * `buffer[start, end)` as bytes that last: a copy where they stand in the shared buffer, a view of them anywhere else.
 */
export function keepBytes(buffer: Buffer, start: number, end: number): Buffer {
  if (buffer !== shared) return start === 0 && end === buffer.length ? buffer : buffer.subarray(start, end);
  const kept = Buffer.allocUnsafe(end - start);
  buffer.copy(kept, 0, start, end);
  return kept;
}

/** For a socket that cannot read into the shared buffer, as one with TLS: its 'data' events are passed on. Leaves it paused. */
export function feedInlet(socket: Socket, inlet: Inlet): void {
  socket.pause();
  socket.on('data', (chunk: Buffer) => inlet.receive(chunk, chunk.length));
}

/**
 * An accepted socket, made anew so that it reads into `inlet`: a server cannot be told to accept such sockets, so the handle
 * changes owners. The socket must have been accepted paused. Where a version of Node keeps the handle elsewhere, the
 * socket stays as it is and its 'data' events are passed on.
 */
export function adoptSocket(accepted: Socket, inlet: Inlet): Socket {
  const owner = accepted as Socket & { _handle?: object | null };
  const handle = owner._handle;
  if (handle === undefined || handle === null) {
    feedInlet(accepted, inlet);
    return accepted;
  }
  // The types know of pre-bound sockets only; the constructor takes any handle of the kind that it makes itself.
  const adopted = new Socket({ handle: handle as BoundSocket, allowHalfOpen: true, onread: inlet.onread });
  owner._handle = null;
  return adopted;
}
