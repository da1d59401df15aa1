import { describe, expect, test } from 'vitest';
import { setStage, stagesSource } from '../../src/documents/edit-stages.ts';

const rollout = (stages: string) => `apiVersion: tidegate.dev/v1
kind: Rollout
metadata: {name: kiosk} # ours
spec:
  owner: ada
  distributionSet: kiosk@1.0.0
  targetCondition: tags.product = 'kiosk' # all of them
  priority: 10
${stages}
  onFailure: pause
`;
const LIST = `  stages:
  # The lab comes first.
  - {name: lab, size: 2, soak: 1h}   # always
  - batch: 5%

  # Then everybody.
  - {name: fleet, size: all, approvals: 1}`;
const RIPPLE = { name: 'ripple-1', size: 10 };
const put = (text: string, over: Partial<Parameters<typeof setStage>[1]> = {}) =>
  setStage(text, { rollout: 'kiosk', stage: RIPPLE, before: 'fleet', ...over });

describe('a stage is put', () => {
  test('on a line of its own, above the comment of the stage that it goes before', () => {
    expect(put(rollout(LIST))).toBe(
      rollout(LIST.replace('  # Then', '  - {name: ripple-1, size: 10}\n  # Then')),
    );
    expect(put(rollout(LIST), { before: 'lab' })).toBe(
      rollout(LIST.replace('  # The lab', '  - {name: ripple-1, size: 10}\n  # The lab')),
    );
    const { before: _before, ...last } = { rollout: 'kiosk', stage: RIPPLE, before: 'fleet' };
    expect(setStage(rollout(LIST), last)).toBe(rollout(`${LIST}\n  - {name: ripple-1, size: 10}`));
  });

  test('in the place of one of its name, wherever that was', () => {
    const stage = { name: 'batch', size: '10%', mode: 'incremental' } as const;
    expect(put(rollout(LIST), { stage, before: 'lab' })).toBe(
      rollout(
        LIST.replace('  - batch: 5%\n', '').replace(
          '  # The lab',
          '  - {name: batch, size: 10%, mode: incremental}\n  # The lab',
        ),
      ),
    );
  });

  test('into a list in brackets, with its group, and with a seed below the target condition', () => {
    const text = rollout('  stages: [{lab: 2}, {fleet: all}] # short');
    expect(put(text, { stage: { ...RIPPLE, where: { group: 'berlin' } }, seed: 'abc' })).toBe(
      text
        .replace('{fleet', '{name: ripple-1, size: 10, where: {group: berlin}}, {fleet')
        .replace('all of them\n', 'all of them\n  seed: "abc"\n'),
    );
  });

  test('where lines are not enough: comments stay, the list is written anew', () => {
    const text = rollout('  stages: [{lab: 2}, {fleet: all}] # short');
    const edited = put(text, { stage: { name: 'lab', size: 3 } });
    expect(edited).toContain('# short');
    expect(edited).toContain('# all of them');
    expect(edited).toContain('{ name: lab, size: 3 }'.replace('{ ', '{').replace(' }', '}'));
  });

  test('with a list of a hundred thousand devices', () => {
    const ids = Array.from({ length: 100_000 }, (_, n) => `'device-${n}'`);
    const where = `deviceId IN [${ids.join(', ')}]`;
    const edited = put(rollout(LIST), { stage: { ...RIPPLE, where } });
    expect(edited).toContain(`{name: ripple-1, size: 10, where: ${JSON.stringify(where)}}`);
  });

  test('with line ends of Windows', () => {
    const text = rollout(LIST).replaceAll('\n', '\r\n');
    expect(put(text)).toBe(put(rollout(LIST))?.replaceAll('\n', '\r\n'));
  });

  test('nowhere else: not into another rollout, and not before a stage that is not there', () => {
    expect(put(rollout(LIST), { rollout: 'hub' })).toBeUndefined();
    expect(put(rollout(LIST), { before: 'nobody' })).toBeUndefined();
    expect(put(rollout('  stages: careful'))).toBeUndefined();
  });
});

test('it is known where stages come from', () => {
  expect(stagesSource(rollout(LIST))).toBe('list');
  expect(stagesSource(rollout('  stages: careful'))).toEqual({ plan: 'careful' });
  expect(stagesSource(rollout('  stages: {split: 5}'))).toBe('split');
});
