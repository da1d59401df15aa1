/** An invariant of the planner. A failure is a bug in Tidegate, never something a user did. */
export default function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${message}`);
}
