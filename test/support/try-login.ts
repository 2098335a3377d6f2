// Whether a login succeeds, as one line to compare.

import { type LoginOptions, ServerError, type WireAddress, WireClient } from './wire-client.ts';

/** `in` and as whom, or SQLSTATE and message. */
export async function tryLogin(address: WireAddress, options: LoginOptions): Promise<string> {
  try {
    const client = await WireClient.login(address, options);
    const [row] = await client.rows('SELECT session_user');
    await client.end();
    return `in as ${row?.[0]}`;
  } catch (error) {
    if (error instanceof ServerError) return `${error.code} ${error.message}`;
    throw error;
  }
}
