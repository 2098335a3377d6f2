// What every driver is asked to do. The programs in programs/ perform these checks in this order and print one line of JSON
// for each: {"check": name, "ok": true, false or null, "detail": text}. Null: the driver has no API for it.

export const CHECKS = [
  'connect',
  'text',
  'binary',
  'prepared',
  'batch',
  'copy',
  'notify',
  'cancel',
  'large_objects',
  'errors',
  'refused',
  'refused_in_transaction',
  'refused_in_batch',
  'limited',
] as const;

export type Check = (typeof CHECKS)[number];

/** Column headings of the table. */
export const HEADINGS: Readonly<Record<Check, string>> = {
  connect: 'TLS, SCRAM',
  text: 'text',
  binary: 'binary',
  prepared: 'prepared',
  batch: 'batch',
  copy: 'COPY',
  notify: 'NOTIFY',
  cancel: 'cancel',
  large_objects: 'large objects',
  errors: 'error fields',
  refused: 'refused',
  refused_in_transaction: 'refused in BEGIN',
  refused_in_batch: 'refused in a batch',
  limited: 'limited',
};

/** One line that a program printed. */
export interface Report {
  readonly check: Check;
  /** Null: there is no API for it, and `detail` says which is missing. */
  readonly isOk: boolean | null;
  readonly detail: string;
}

/** Reads what a program printed; anything else than its reports is a RangeError with the line. */
export function readReports(stdout: string): Report[] {
  return stdout
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const report = readReport(line);
      if (report === null) throw new RangeError(`not a report: ${line.slice(0, 200)}`);
      return report;
    });
}

function readReport(line: string): Report | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  if (!('check' in value && 'ok' in value && 'detail' in value)) return null;
  const check = CHECKS.find((name) => name === value.check);
  if (check === undefined || typeof value.detail !== 'string') return null;
  if (typeof value.ok !== 'boolean' && value.ok !== null) return null;
  return { check, isOk: value.ok, detail: value.detail };
}
