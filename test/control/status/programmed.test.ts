import { expect, test } from '@jest/globals';
import type { Condition, ObjectStatus } from '../../../src/control/compile/index.ts';
import { Programmed } from '../../../src/control/status/programmed.ts';
import { BAD, listenerStatus, upstreamStatus } from './cluster.ts';

const SERVED = { bindProblems: [], acknowledged: true };
const UNDER_WAY = { bindProblems: [], acknowledged: false };
const unbound = (...messages: string[]) => ({
  bindProblems: messages.map((message) => ({ listener: 'sys/public', message })),
  acknowledged: true,
});

const programmed = (status: ObjectStatus | undefined): Condition | undefined => status?.conditions.find((c) => c.type === 'Programmed');
const onListener = (status: ObjectStatus | undefined): Condition | undefined =>
  status?.listeners?.[0]?.conditions.find((c) => c.type === 'Programmed');
const PENDING = { type: 'Programmed', status: 'False', reason: 'Pending', message: 'not every worker has taken this generation over yet' };

test('nothing is programmed before every worker has acknowledged it', () => {
  const judge = new Programmed();
  const [listener, upstream] = judge.judge([listenerStatus(), upstreamStatus()], UNDER_WAY);
  expect(programmed(listener)).toEqual(PENDING);
  expect(programmed(upstream)).toEqual(PENDING);
  expect(onListener(upstream)).toEqual(PENDING);
  const statuses = [listenerStatus(), upstreamStatus()];
  const served = judge.judge(statuses, SERVED);
  expect(served[0]).toBe(statuses[0]);
  expect(served[1]).toBe(statuses[1]);
});

test('a version under way does not touch those whose generation is served already', () => {
  const judge = new Programmed();
  judge.judge([listenerStatus(), upstreamStatus()], SERVED);
  const changed = upstreamStatus('web/api', { generation: 2 });
  const [listener, upstream, other] = judge.judge([listenerStatus(), changed, upstreamStatus('web/new')], UNDER_WAY);
  expect(programmed(listener)?.status).toBe('True');
  expect(programmed(upstream)).toEqual(PENDING);
  expect(programmed(other)).toEqual(PENDING);
  // Still, after the next one that does not arrive either.
  expect(programmed(judge.judge([listenerStatus(), changed], UNDER_WAY)[0])?.status).toBe('True');
});

test('an object that was made anew is another one', () => {
  const judge = new Programmed();
  judge.judge([upstreamStatus()], SERVED);
  expect(programmed(judge.judge([upstreamStatus('web/api', { uid: 'another' })], UNDER_WAY)[0])).toEqual(PENDING);
});

test('what was acknowledged as not programmed is not programmed by a version that was not', () => {
  const judge = new Programmed();
  judge.judge([listenerStatus('sys/public', { bad: [BAD.pending] })], SERVED);
  expect(programmed(judge.judge([listenerStatus()], UNDER_WAY)[0])).toEqual(PENDING);
  expect(programmed(judge.judge([listenerStatus()], SERVED)[0])?.status).toBe('True');
});

test('an address that is not bound is said with everything the workers know, once', () => {
  const judge = new Programmed();
  const held = 'UDP 192.0.2.1:8443 cannot be bound: EADDRINUSE, held by process 7 (nginx)';
  const [listener] = judge.judge([listenerStatus(), upstreamStatus()], unbound(held, 'b', held));
  expect(programmed(listener)).toEqual({ type: 'Programmed', status: 'False', reason: 'AddressNotBound', message: `${held}; b` });
  expect(listener?.conditions.filter((c) => c.type !== 'Programmed')).toEqual(
    listenerStatus().conditions.filter((c) => c.type !== 'Programmed'),
  );
});

test('a version that does not arrive binds nothing', () => {
  const judge = new Programmed();
  judge.judge([listenerStatus()], unbound('held by process 7'));
  const still = { type: 'Programmed', status: 'False', reason: 'AddressNotBound', message: 'held by process 7' };
  expect(programmed(judge.judge([listenerStatus()], UNDER_WAY)[0])).toEqual(still);
  expect(programmed(judge.judge([listenerStatus()], UNDER_WAY)[0])).toEqual(still);
  expect(programmed(judge.judge([listenerStatus()], SERVED)[0])?.status).toBe('True');
});

test('what is attached to an unbound Listener is not served there', () => {
  const judge = new Programmed();
  const two = upstreamStatus('web/two', {
    listeners: [...(upstreamStatus().listeners ?? []), { ...(upstreamStatus().listeners?.[0] ?? never()), name: 'other' }],
  });
  const [one, both] = judge.judge([upstreamStatus(), two], unbound('x'));
  const pending = { type: 'Programmed', status: 'False', reason: 'Pending', message: 'the Listener is not served: AddressNotBound' };
  expect(onListener(one)).toEqual(pending);
  expect(programmed(one)).toEqual(pending);
  // The worst of all listeners.
  expect(programmed(both)).toEqual(pending);
  expect(both?.listeners?.[1]?.conditions.find((c) => c.type === 'Programmed')?.status).toBe('True');
});

test('what compile found stays', () => {
  const judge = new Programmed();
  const refused = listenerStatus('sys/public', { bad: [BAD.invalid, BAD.pending] });
  expect(judge.judge([refused], { ...unbound('x'), acknowledged: false })[0]).toBe(refused);
});

test('what is gone is forgotten', () => {
  const judge = new Programmed();
  judge.judge([upstreamStatus()], SERVED);
  judge.judge([], SERVED);
  expect(programmed(judge.judge([upstreamStatus()], UNDER_WAY)[0])).toEqual(PENDING);
});

const never = (): never => {
  throw new Error('there is none');
};
