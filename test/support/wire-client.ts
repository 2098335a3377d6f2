// A client of the protocol for tests: sends any bytes at all, reads framed messages, never waits without a deadline, and
// keeps the whole byte stream for comparison.

import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import * as frontend from './frontend-messages.ts';
import { answerMd5, ScramLogin } from './password-login.ts';
import { type ClientTls, encryptSocket } from './tls-client.ts';
import { type BackendMessage, nameOf, readCstrings, readFields, readRow } from './transcript.ts';

export interface WireAddress {
  /** An address, or the absolute path of a folder with a Unix socket in it. */
  readonly host: string;
  readonly port: number;
  /** The address to connect from, such as 127.0.7.1; the system's choice unless given. */
  readonly localAddress?: string;
  /** No TLS unless given. */
  readonly tls?: ClientTls;
}

export interface LoginOptions {
  readonly user?: string;
  readonly password?: string | null;
  readonly database?: string;
  /** Further startup parameters: application_name, options, … */
  readonly parameters?: Readonly<Record<string, string>>;
  readonly version?: number;
}

/** The server (or proxy) ended the connection while a message was awaited. */
export class ConnectionEnded extends Error {
  readonly remaining: Buffer;
  constructor(reason: string, remaining: Buffer) {
    super(
      `connection ended: ${reason}${remaining.length > 0 ? ` (${remaining.length} bytes of an unfinished message)` : ''}`,
    );
    this.remaining = remaining;
  }
}

export class WireClient {
  /** Each wait for one message. */
  readonly deadlineMs: number;
  readonly socket: Socket;
  processId = 0;
  secretKey: Buffer = Buffer.alloc(0);
  /** As last reported by ParameterStatus. */
  readonly parameters = new Map<string, string>();
  /** As last reported by ReadyForQuery. */
  status = '';
  #chunks: Buffer[] = [];
  /** Framed so far up to its start; joined with what arrived only when that is enough, so that reading stays linear. */
  #pending: Buffer = Buffer.alloc(0);
  #arrived: Buffer[] = [];
  #arrivedBytes = 0;
  #ended: string | null = null;
  #wake: (() => void) | null = null;

  private constructor(socket: Socket, deadlineMs: number) {
    this.socket = socket;
    this.deadlineMs = deadlineMs;
    socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#arrived.push(chunk);
      this.#arrivedBytes += chunk.length;
      this.#wake?.();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => this.#markEnded(error.code ?? error.message));
    socket.on('end', () => this.#markEnded('closed by the other side'));
    socket.on('close', () => this.#markEnded('closed'));
  }

  /** Connects without sending anything. */
  static async connect(address: WireAddress, deadlineMs = 10_000): Promise<WireClient> {
    const socket = address.host.startsWith('/')
      ? connect(join(address.host, `.s.PGSQL.${address.port}`))
      : connect({
          port: address.port,
          host: address.host,
          ...(address.localAddress === undefined ? {} : { localAddress: address.localAddress }),
        });
    socket.setNoDelay(true);
    const early = address.tls === undefined ? new WireClient(socket, deadlineMs) : null;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        socket.destroy();
        reject(new Error(`no connection to ${address.host}:${address.port} after ${deadlineMs} ms`));
      }, deadlineMs);
      socket.once('connect', () => {
        clearTimeout(timer);
        resolve();
      });
      socket.once('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
    });
    return early ?? new WireClient(await encryptSocket(socket, address.tls, deadlineMs), deadlineMs);
  }

  /** Connects and logs in; rejects with the server's own error where it refuses. */
  static async login(address: WireAddress, options: LoginOptions = {}, deadlineMs = 10_000): Promise<WireClient> {
    const client = await WireClient.connect(address, deadlineMs);
    try {
      const messages = await client.startup(options);
      const refusal = messages.find((message) => message.type === 'E');
      if (refusal !== undefined) throw new ServerError(readFields(refusal.body));
      return client;
    } catch (error) {
      client.destroy();
      throw error;
    }
  }

  /** Sends the startup packet and answers what is asked, to ReadyForQuery or the error. All messages seen, in order. */
  async startup(options: LoginOptions = {}): Promise<BackendMessage[]> {
    const user = options.user ?? 'weir';
    this.send(
      frontend.startupMessage({ user, database: options.database ?? 'weir', ...options.parameters }, options.version),
    );
    const messages: BackendMessage[] = [];
    const scram = new ScramLogin(options.password ?? '');
    for (;;) {
      const message = await this.readMessage();
      messages.push(message);
      if (message.type === 'E' || message.type === 'Z') return messages;
      if (message.type === 'R') this.#answerAuthentication(message.body, user, options.password ?? '', scram);
    }
  }

  /** Every byte that the other side has sent so far, in order. */
  received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  isEnded(): boolean {
    return this.#ended !== null && this.#pending.length === 0 && this.#arrived.length === 0;
  }

  send(...parts: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Sends the bytes in pieces of `pieceBytes`, each in a packet of its own as far as the system allows. */
  async sendInPieces(bytes: Buffer, pieceBytes: number): Promise<void> {
    for (let offset = 0; offset < bytes.length; offset += pieceBytes) {
      this.socket.write(bytes.subarray(offset, offset + pieceBytes));
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** The one byte that answers SSLRequest or GSSENCRequest. */
  async readByte(): Promise<string> {
    await this.#waitForBytes(() => 1, 'one byte');
    const byte = this.#pending.toString('latin1', 0, 1);
    this.#pending = this.#pending.subarray(1);
    return byte;
  }

  /** The next message. Rejects with ConnectionEnded at the end of the stream, and with a plain Error at the deadline. */
  async readMessage(): Promise<BackendMessage> {
    await this.#waitForBytes(() => (this.#pending.length < 5 ? 5 : 1 + this.#pending.readInt32BE(1)), 'a message');
    const length = this.#pending.readInt32BE(1);
    if (length < 4) throw new Error(`message with length ${length}`);
    const message = {
      type: this.#pending.toString('latin1', 0, 1),
      body: Buffer.from(this.#pending.subarray(5, 1 + length)),
    };
    this.#pending = this.#pending.subarray(1 + length);
    this.#takeNote(message);
    return message;
  }

  /** Messages up to and with the first one of a type such as `Z`. */
  async readUntil(type: string): Promise<BackendMessage[]> {
    const messages: BackendMessage[] = [];
    for (;;) {
      const message = await this.readMessage();
      messages.push(message);
      if (message.type === type) return messages;
    }
  }

  /** Messages up to and with the given count of ReadyForQuery. */
  async readUntilReady(count = 1): Promise<BackendMessage[]> {
    const messages: BackendMessage[] = [];
    for (let left = count; left > 0; left--) messages.push(...(await this.readUntil('Z')));
    return messages;
  }

  /** Messages up to the end of the stream; rejects when it does not end within the deadline. */
  async readUntilEnd(): Promise<BackendMessage[]> {
    const messages: BackendMessage[] = [];
    for (;;) {
      try {
        messages.push(await this.readMessage());
      } catch (error) {
        if (error instanceof ConnectionEnded) return messages;
        throw error;
      }
    }
  }

  /** A simple query; all messages to ReadyForQuery. */
  async query(sql: string): Promise<BackendMessage[]> {
    this.send(frontend.query(sql));
    return this.readUntilReady();
  }

  /** A simple query; its rows as text. Rejects with ServerError where the server answers with an error. */
  async rows(sql: string): Promise<(string | null)[][]> {
    const messages = await this.query(sql);
    const refusal = messages.find((message) => message.type === 'E');
    if (refusal !== undefined) throw new ServerError(readFields(refusal.body));
    return messages.filter((message) => message.type === 'D').map((message) => readRow(message.body));
  }

  /** Says goodbye and waits for the other side to close. */
  async end(): Promise<void> {
    if (this.#ended === null) this.socket.end(frontend.terminate());
    await this.readUntilEnd().finally(() => this.socket.destroy());
  }

  /** Vanishes without a word. */
  destroy(): void {
    this.socket.destroy();
  }

  #answerAuthentication(body: Buffer, user: string, password: string, scram: ScramLogin): void {
    const code = body.readInt32BE(0);
    switch (code) {
      case 0:
        break;
      case 3:
        this.send(frontend.password(password));
        break;
      case 5:
        this.send(frontend.password(answerMd5(user, password, body.subarray(4, 8))));
        break;
      case 10:
        this.send(scram.begin(readCstrings(body, 4)));
        break;
      case 11:
        this.send(scram.answer(body.toString('utf8', 4)));
        break;
      case 12:
        scram.verify(body.toString('utf8', 4));
        break;
      default:
        throw new Error(`authentication request ${code} is not known to this client`);
    }
  }

  #takeNote(message: BackendMessage): void {
    if (message.type === 'Z') this.status = message.body.toString('latin1');
    if (message.type === 'K') {
      this.processId = message.body.readInt32BE(0);
      this.secretKey = Buffer.from(message.body.subarray(4));
    }
    if (message.type === 'S') {
      const [name, value] = readCstrings(message.body);
      if (name !== undefined) this.parameters.set(name, value ?? '');
    }
  }

  #markEnded(reason: string): void {
    this.#ended ??= reason;
    this.#wake?.();
  }

  async #waitForBytes(wanted: () => number, what: string): Promise<void> {
    const endsAt = performance.now() + this.deadlineMs;
    while (this.#pending.length < wanted()) {
      const isOver = this.#ended !== null || performance.now() >= endsAt;
      if (this.#arrivedBytes > 0 && (isOver || this.#pending.length + this.#arrivedBytes >= wanted())) {
        this.#pending = Buffer.concat([this.#pending, ...this.#arrived.splice(0)]);
        this.#arrivedBytes = 0;
        continue;
      }
      if (this.#ended !== null) throw new ConnectionEnded(this.#ended, this.#pending);
      const leftMs = endsAt - performance.now();
      if (leftMs <= 0) {
        throw new Error(
          `waited ${this.deadlineMs} ms for ${what}; ${this.#pending.length} bytes are there (${nameOf(this.#pending.toString('latin1', 0, 1))})`,
        );
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
  }
}

/** An ErrorResponse as an exception. */
export class ServerError extends Error {
  readonly code: string;
  readonly fields: Readonly<Record<string, string>>;
  constructor(fields: Readonly<Record<string, string>>) {
    super(fields.M ?? 'error without a message');
    this.code = fields.C ?? '';
    this.fields = fields;
  }
}

/** Sends a CancelRequest on a connection of its own and waits until the other side has closed it. */
export async function sendCancel(address: WireAddress, processId: number, secretKey: Buffer): Promise<void> {
  const client = await WireClient.connect(address);
  client.send(frontend.cancelRequest(processId, secretKey));
  await client.readUntilEnd().finally(() => client.destroy());
}
