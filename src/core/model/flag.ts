/** Feature flags: values that devices ask for, told apart by device, tag and share. They never touch a manifest. */

export type FlagValue = boolean | number | string;

export interface Flag {
  /** Its key: the document's name. */
  readonly name: string;
  /** False: the kill switch is thrown, and every device gets the default variant. */
  readonly enabled: boolean;
  /** By variant; all of one type. */
  readonly values: Readonly<Record<string, FlagValue>>;
  /** The variant where no rule applies. */
  readonly default: string;
  /** Tried in order; the first that applies decides. */
  readonly rules: readonly FlagRule[];
  /** What shares start from: flags with different seeds choose devices independently. */
  readonly seed: string;
}

export interface FlagRule {
  /** A target condition; absent: every device. */
  readonly condition?: string;
  /** The parts per million of all devices that it is for; the others go on to the next rule. */
  readonly ppm: number;
  /**
   * The variants among those devices, with the parts per million up to which each reaches, ascending. Devices beyond
   * the last go on to the next rule.
   */
  readonly split: readonly { readonly variant: string; readonly upToPpm: number }[];
}
