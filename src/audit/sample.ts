// What is shown and kept of a statement's literal-free text: its beginning, so that what clients send cannot fill the memory.

export const MAX_SAMPLE_LENGTH = 1000;

/** A copy, where it is cut: a slice would keep the whole long text alive. */
export function cutSample(normalized: string): string {
  if (normalized.length <= MAX_SAMPLE_LENGTH) return normalized;
  return Buffer.from(`${normalized.slice(0, MAX_SAMPLE_LENGTH - 1)}…`).toString();
}
