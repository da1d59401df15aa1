/**
 * The outputs of a step, as a runner reads them from a file
 * (https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands#multiline-strings).
 */
import { randomUUID } from 'node:crypto';
import { appendFile } from 'node:fs/promises';

export type Outputs = Readonly<
  Record<'valid' | 'errors' | 'warnings' | 'plan-json' | 'sarif' | 'summary' | 'chart', string>
>;

export async function writeOutputs(file: string | undefined, outputs: Partial<Outputs>): Promise<void> {
  if (file === undefined) return;
  const texts = Object.entries(outputs).map(([name, value]) => {
    // Nobody who writes a value can guess where it ends.
    const end = `tidegate-${randomUUID()}`;
    return `${name}<<${end}\n${value}\n${end}\n`;
  });
  await appendFile(file, texts.join(''));
}
