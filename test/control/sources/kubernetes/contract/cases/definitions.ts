/** A kind comes and goes. */
import { definition } from '../widget.ts';
import type { Case, Scene } from '../scene.ts';
import type { Answer } from '../wire.ts';

async function until(ask: () => Promise<Answer>, status: number): Promise<Answer> {
  let last = await ask();
  for (let i = 0; i < 200 && last.status !== status; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    last = await ask();
  }
  return last;
}

const install = async (s: Scene): Promise<void> => {
  await s.wire.ask('POST', s.path('customresourcedefinitions'), { body: definition('gadgets', 'Gadget') });
  await until(() => s.list('gadgets'), 200);
};

export const DEFINITIONS: readonly Case[] = [
  {
    name: 'a kind is there after its definition, and away after it',
    run: async (s) => {
      const before = await s.wire.ask('GET', s.path('gadgets'));
      await install(s);
      const made = await until(() => s.post('gadgets', 'g', { spec: {} }), 201);
      const watch = await s.watch('gadgets');
      const gone = await s.delete('customresourcedefinitions', 'gadgets.contract.spooky.dev');
      const events = await watch.first(1);
      const after = await until(() => s.wire.ask('GET', s.path('gadgets')), 404);
      return [before.status, made.status, gone.status, s.told(events), await watch.ended(), after.status, after.type.split(';')[0]];
    },
    gives: [404, 201, 200, ['DELETED g'], 'in order', 404, 'text/plain'],
  },
];
