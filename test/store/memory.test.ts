import { describe } from 'vitest';
import { createMemoryStore } from '../../src/store/memory.ts';
import { storeContract } from './contract.ts';
import { outboxContract } from './outbox-contract.ts';
import { sumsContract } from './sums-contract.ts';

describe('the memory store', () => {
  let created = 0;
  const engine = {
    async create() {
      created += 1;
      return createMemoryStore({ epoch: `epoch-${created}` });
    },
  };
  storeContract(engine);
  sumsContract(engine);
  outboxContract(engine);
});
