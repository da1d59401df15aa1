/**
 * A notice as a CloudEvent in structured mode: the whole event is the body.
 *
 * CloudEvents 1.0.2: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md, `formats/json-format.md`,
 * `bindings/http-protocol-binding.md` §3.2
 */
import { formatInstant } from '../core/model/time.ts';
import type { Notice } from './notice.ts';

export const CLOUD_EVENT_TYPE = 'application/cloudevents+json; charset=utf-8';

export function cloudEvent(notice: Notice): string {
  const { id, type, at, deadlineAt, fleet, rollout, attempt, stage, ...rest } = notice;
  const subject = [rollout, attempt, ...(stage === undefined ? [] : [stage])].join('/');
  return JSON.stringify({
    specversion: '1.0',
    id,
    // §3.1.1: `source` and `id` together are the event's name, so that a repeated delivery is known for one.
    source: `tidegate:fleet:${encodeURIComponent(fleet)}`,
    type,
    subject,
    time: formatInstant(at),
    datacontenttype: 'application/json',
    data: {
      fleet,
      rollout,
      attempt,
      ...(stage === undefined ? {} : { stage }),
      ...rest,
      ...(deadlineAt === undefined ? {} : { deadlineAt: formatInstant(deadlineAt) }),
    },
  });
}
