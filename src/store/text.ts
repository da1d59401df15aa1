/** Text that every engine keeps as it is, and one order for it. */

/** PostgreSQL takes neither NUL nor half a character. */
export function isText(text: string, lengthMax: number): boolean {
  return text.length > 0 && text.length <= lengthMax && text.isWellFormed() && !text.includes('\0');
}

/** What to say of one that is not. */
export function textExpected(where: string, text: string, lengthMax: number): string {
  const found = text.length > lengthMax ? `${text.length} characters` : JSON.stringify(text);
  return `${where}: expected 1 to ${lengthMax} characters of Unicode without NUL, found ${found}; mend it where it is made`;
}

/** The same order in every process, which is all that locks need; what is read is ordered by bytes. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
