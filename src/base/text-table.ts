// Rows as a table for a terminal: a line of titles, columns as wide as their widest cell, two blanks between.

export interface TextColumn<Row> {
  readonly title: string;
  /** Numbers stand to the right. */
  readonly isNumber: boolean;
  read(row: Row): string;
}

/** Without a newline at the end. What cells hold of clients' names and texts is shown with control characters escaped. */
export function formatTextTable<Row>(columns: readonly TextColumn<Row>[], rows: readonly Row[]): string {
  const lines = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map((column) => escapeControls(column.read(row)))),
  ];
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => (line[index] ?? '').length)));
  return lines
    .map((line) =>
      line
        .map((cell, index) => {
          const width = widths[index] ?? 0;
          return columns[index]?.isNumber === true ? cell.padStart(width) : cell.padEnd(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Control and invisible formatting characters (Unicode Cc, Cf) by number: a name could else steer the terminal. */
export function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`);
}
