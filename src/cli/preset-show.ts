/** `tidegate preset show`: a preset as the document that it is, to read or to make one's own. */
import { kebabCase, PLACES } from '../documents/kinds.ts';
import { PRESETS, presetDocument } from '../documents/presets.ts';
import { closest } from '../documents/suggest.ts';
import { EXIT, type ExitCode } from './errors.ts';
import type { Io } from './io.ts';
import { printable } from './output.ts';

export interface PresetShowOptions {
  readonly name: string;
  readonly format: 'yaml' | 'json';
}

export async function run({ name, format }: PresetShowOptions, io: Io): Promise<ExitCode> {
  const preset = PRESETS.find((each) => each.name === name);
  if (preset === undefined) {
    const meant = closest(
      name,
      PRESETS.map((each) => each.name),
    );
    const next = meant === undefined ? 'tidegate preset list shows those that do' : `did you mean ${meant}?`;
    io.err.lines([`no preset is called ${printable(name)}; ${next}`]);
    return EXIT.problems;
  }
  const { kind, text } = preset;
  if (format === 'json') {
    io.out.write(`${JSON.stringify(presetDocument(kind, name)?.data, null, 2)}\n`);
    return EXIT.fine;
  }
  // The schemas lie where `tidegate init` puts them, seen from the folder that this kind belongs in.
  const up = '../'.repeat(PLACES[kind].split('/').length - 1);
  const schema = `${up}.tidegate/schemas/${kebabCase(kind)}.schema.json`;
  io.out.write(`# yaml-language-server: $schema=${schema}\n${text}`);
  return EXIT.fine;
}
