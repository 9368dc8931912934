/** Our own runners: a backend is a row here. */
import { type CpuOptions, cpu } from '@heed/backend-cpu'
import { type Backend, reference } from '@heed/tensor'
import { heedAbilities, use } from './heed.js'
import { workspaceVersion } from './machine.js'
import type { Maker } from './work.js'

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
    return { name, threads, can: heedAbilities(made, threads), enter: () => use(made) }
  },
  ...more,
})

// one thread is asked for by saying nothing where nothing else exists yet
const options = (threads: number, more: CpuOptions = {}): CpuOptions =>
  ({ ...more, threads }) as unknown as CpuOptions

export const backends: readonly Maker[] = [
  backend('heed/cpu', (threads) => cpu(options(threads))),
  backend('heed/cpu-baseline', (threads) => cpu(options(threads, { build: 'baseline' })), {
    byDefault: false,
  }),
  backend('heed/reference', () => reference(), { byDefault: false, threaded: false }),
]
