import { describe } from 'vitest';
import { createMemoryStore } from '../../src/store/memory.ts';
import { storeContract } from './contract.ts';

describe('the memory store', () => {
  let created = 0;
  storeContract({
    async create() {
      created += 1;
      return createMemoryStore({ epoch: `epoch-${created}` });
    },
  });
});
