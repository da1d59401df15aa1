/** `tidegate preset list`: the stage plans and gates that a rollout can name without having them. */
import { PRESETS, presetDocument } from '../documents/presets.ts';
import { EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { hanging } from './output.ts';

export interface PresetListOptions {
  readonly format: 'text' | 'json';
}

export async function run({ format }: PresetListOptions, { out }: Io): Promise<ExitCode> {
  const presets = PRESETS.map(({ kind, name }) => ({
    kind,
    name,
    description: presetDocument(kind, name)?.data.spec.description ?? '',
  }));
  if (format === 'json') {
    out.write(`${JSON.stringify({ presets }, null, 2)}\n`);
    return EXIT.fine;
  }
  const width = Math.max(...presets.map(({ name }) => name.length));
  const section = (of: string) =>
    presets
      .filter(({ kind }) => kind === of)
      .flatMap(({ name, description }) => hanging(name, description, width, out));
  out.lines([
    out.paint('bold', 'Stage plans, for stages: NAME'),
    ...section('StagePlan'),
    '',
    out.paint('bold', 'Gates, for {use: NAME}'),
    ...section('Gate'),
  ]);
  return EXIT.fine;
}
