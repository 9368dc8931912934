/** Our own runners: a backend is a row here. */
import { cpu } from '@heed/backend-cpu'
import { loadModel } from '@heed/models'
import { type Backend, reference, release } from '@heed/tensor'
import { coldStart } from './cold-start.js'
import { heedAbilities, releaseAll, use } from './heed.js'
import { workspaceVersion } from './machine.js'
import { minilmFolder } from './minilm.js'
import type { Abilities, Maker } from './work.js'

/** What only Node has: folders of weights, and processes. `opened` is the backend as a new process would open it. */
const nodeAbilities = (opened: string): Abilities => ({
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
      `const { matmul, ones, reference, setBackend } = await import('@heed/tensor')
      setBackend(await ${opened})
      const y = await matmul(ones([64, 64]), ones([64, 64])).data()`,
      'here',
    ),
})

/** `opened`: the same as `open`, as text. */
const backend = (
  name: string,
  open: (threads: number) => Backend | Promise<Backend>,
  opened: (threads: number) => string,
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
      can: { ...heedAbilities(made), ...nodeAbilities(opened(threads)) },
      enter: () => use(made),
    }
  },
  ...more,
})

const cpuText = (options: object): string =>
  `(await import('@heed/backend-cpu')).cpu(${JSON.stringify(options)})`
const baseline = { build: 'baseline' } as const

export const backends: readonly Maker[] = [
  backend(
    'heed/cpu',
    (threads) => cpu({ threads }),
    (threads) => cpuText({ threads }),
  ),
  backend(
    'heed/cpu-baseline',
    (threads) => cpu({ threads, ...baseline }),
    (threads) => cpuText({ threads, ...baseline }),
    { aside: true },
  ),
  backend(
    'heed/reference',
    () => reference(),
    () => 'reference()',
    { byDefault: false, threaded: false },
  ),
]
