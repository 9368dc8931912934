/** Our own runners: a backend is a row here. */
import { cpu } from '@heed/backend-cpu'
import { loadModel } from '@heed/models'
import { type Backend, reference, release } from '@heed/tensor'
import { coldStart } from './cold-start.js'
import { heedAbilities, releaseAll, use } from './heed.js'
import { workspaceVersion } from './machine.js'
import { minilmFolder } from './minilm.js'
import type { Abilities, Maker } from './work.js'

const nodeAbilities = (threads: number): Abilities => ({
  async embed({ texts }) {
    const model = await loadModel(minilmFolder())
    const once = () => model.embed(texts)
    return {
      run: async () => release(await once()),
      output: async () => (await (await once()).data()) as Float32Array,
      free: releaseAll(model),
    }
  },
  cold: () =>
    coldStart(
      `const { cpu } = await import('@heed/backend-cpu')
      const { matmul, ones, setBackend } = await import('@heed/tensor')
      setBackend(await cpu({ threads: ${threads} }))
      const y = await matmul(ones([64, 64]), ones([64, 64])).data()`,
      'here',
    ),
})

const backend = (
  name: string,
  open: (threads: number) => Backend | Promise<Backend>,
  more: Partial<Maker> = {},
): Maker => ({
  name,
  byDefault: true,
  threaded: true,
  versions: () => ({ heed: workspaceVersion() }),
  async make(threads) {
    const made = await open(threads)
    return {
      name,
      threads,
      can: { ...heedAbilities(made), ...nodeAbilities(threads) },
      enter: () => use(made),
    }
  },
  ...more,
})

export const backends: readonly Maker[] = [
  backend('heed/cpu', (threads) => cpu({ threads })),
  backend('heed/cpu-baseline', (threads) => cpu({ threads, build: 'baseline' }), { aside: true }),
  backend('heed/reference', () => reference(), { byDefault: false, threaded: false }),
]
