/** What controllers write below `status`: for the CRDs and the reference page; conditions and their reasons are compile's. */
import { z } from 'zod';
import { integer, list, object, text } from './fields.ts';
import { namespaceName, objectName } from './parts.ts';

const word = (help: string) => text(help, { max: 316 });

const conditions = () =>
  list(
    'Verdicts, one of each type.',
    object('A verdict.', {
      type: word('What is judged.'),
      status: text('True, False or Unknown.', { max: 7 }),
      reason: text('Why, in one word of the table of reasons.', { max: 1024 }),
      message: text('Why, for people.', { max: 32_768, min: 0 }),
      observedGeneration: integer('The generation of the spec that was judged.', { min: 0, max: Number.MAX_SAFE_INTEGER }).optional(),
      lastTransitionTime: text('When the status changed last.', { max: 64, format: 'date-time' }),
    }),
    { max: 8, keys: ['type'] },
  );

export const listenerStatus = object('What became of it.', {
  addresses: list(
    'Where clients reach it.',
    object('One address.', {
      type: word('IPAddress or Hostname.').optional(),
      value: text('The address.', { max: 253 }),
      port: integer('The port.', { min: 1, max: 65535 }).optional(),
    }),
    { max: 256 },
  ).optional(),
  attachedUpstreams: integer('Upstreams that it serves.', { min: 0, max: 0x7fffffff }).optional(),
  conditions: conditions().optional(),
});

export const upstreamStatus = object('What became of it.', {
  installations: list(
    'One entry per installation.',
    object('What became of it in one installation.', {
      controllerName: word('spooky.dev/ and the class.'),
      attached: text('Listeners that took it, of those that it asked for: 1/1.', { max: 32 }).optional(),
      endpoints: object('Its endpoints.', {
        total: integer('All.', { min: 0, max: 0x7fffffff }),
        ready: integer('Those that serve.', { min: 0, max: 0x7fffffff }),
      }).optional(),
      conditions: conditions().optional(),
      listeners: list(
        'Verdicts by Listener.',
        object('One Listener.', {
          namespace: namespaceName('Its namespace.'),
          name: objectName('Its name.'),
          conditions: conditions().optional(),
        }),
        { max: 64, keys: ['namespace', 'name'] },
      ).optional(),
    }),
    { max: 16, keys: ['controllerName'] },
  ).optional(),
});

export type ListenerStatus = z.output<typeof listenerStatus>;
export type UpstreamStatus = z.output<typeof upstreamStatus>;
