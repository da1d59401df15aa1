/**
 * Whether a device can go back to what it ran before by itself. It keeps the previous version in a second slot (A/B), and the
 * tag `capability` says so; it may name other capabilities, too, separated by commas. Whether an update reverts is decided on the
 * device, long before anybody here hears of it, so this is for people who choose what goes where, and changes no decision.
 */
export function isRevertible(tags: Readonly<Record<string, string>>): boolean {
  const capability = Object.hasOwn(tags, 'capability') ? tags['capability'] : undefined;
  return capability?.split(',').some((each) => each.trim() === 'ab') ?? false;
}
