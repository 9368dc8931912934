// Adapter of the format 'weights': the tensors of safetensors files, the malformed ones included. The logits of the
// models in there and everything in GGUF are listed as unsupported.
import { openWeights, toBF16, toF16, type Weights, WeightsError } from '@heed/weights'
import { type Collection, type GoldenCase, type Options, type Outcome, unsupported } from './case.js'
import { type Files, readJson } from './files.js'

const pass: Outcome = { status: 'pass', error: 0, tolerance: 0 }
const fail = (reason: string): Outcome => ({ status: 'fail', reason })

/** Opens, uses and closes: a case must not leave a file open for the next ones. */
async function withWeights<T>(from: string | Uint8Array, use: (weights: Weights) => Promise<T>): Promise<T> {
  const weights = await openWeights(from)
  try {
    return await use(weights)
  } finally {
    await weights.close()
  }
}

/** Every value the same, the sign of zero too; nan is nan. */
function exact(got: ArrayLike<number | bigint>, want: ArrayLike<number | bigint>, label: string): Outcome {
  if (got.length !== want.length) return fail(`${label}: ${got.length} values, expected ${want.length}`)
  for (let i = 0; i < want.length; i++) {
    if (Object.is(got[i], want[i])) continue
    const reason = `${label}: got ${got[i]} instead of ${want[i]} at flat index ${i}`
    const error = Math.abs(Number(got[i]) - Number(want[i]))
    return { status: 'fail', error, tolerance: 0, reason }
  }
  return pass
}

interface Described {
  dtype: string
  shape: number[]
}

/** Names, dtypes and shapes, in any order. */
function sameTensors(weights: Weights, want: Readonly<Record<string, Described>>): Outcome {
  const describe = (entries: [string, Described][]) =>
    entries.map(([name, { dtype, shape }]) => `${JSON.stringify(name)} ${dtype} [${shape}]`).sort()
  const got = describe(
    weights.names.map((name) => [
      name,
      { dtype: weights.info(name).dtype, shape: [...weights.info(name).shape] },
    ]),
  )
  const expected = describe(Object.entries(want))
  const more = got.find((line) => !expected.includes(line))
  const less = expected.find((line) => !got.includes(line))
  return more || less ? fail(`got ${more ?? 'nothing'} where ${less ?? 'nothing'} is expected`) : pass
}

const parseFloatText = (text: string) =>
  ({ nan: Number.NaN, inf: Infinity, '-inf': -Infinity })[text] ?? Number(text)

async function* allDTypes(files: Files, folder: string, prefix: string): AsyncGenerator<GoldenCase> {
  const path = files.at(folder, 'all-dtypes.safetensors')
  const { metadata, tensors } = await readJson<{
    metadata: Record<string, string>
    tensors: Record<string, Described & { values: string[] }>
  }>(files, files.at(folder, 'all-dtypes.json'))
  yield {
    id: prefix,
    run: () =>
      withWeights(path, async (weights) => {
        const text = (notes: object) => JSON.stringify(Object.entries(notes).sort())
        if (text(weights.metadata) !== text(metadata)) return fail(`metadata is ${text(weights.metadata)}`)
        return sameTensors(weights, tensors)
      }),
  }
  for (const [name, { dtype, values }] of Object.entries(tensors)) {
    const run = () =>
      withWeights(path, async (weights) => {
        const { data } = await weights.read(name)
        if (/^[IU]64$/.test(dtype)) return exact(data, values.map(BigInt), name)
        const isCoded = /^(F16|BF16|F8_)/.test(dtype)
        return exact(isCoded ? await weights.readF32(name) : data, values.map(parseFloatText), name)
      })
    yield { id: `${prefix}/${name}`, run }
  }
}

interface Verdict {
  accepted: boolean
  /** Absent where both ways agree. */
  accepted_when_opened_as_a_file?: boolean
  kind?: string
  tensors?: Record<string, Described>
}

async function* malformed(files: Files, folder: string, prefix: string): AsyncGenerator<GoldenCase> {
  const verdicts = await readJson<Record<string, Verdict>>(files, files.at(folder, 'malformed.json'))
  for (const [name, want] of Object.entries(verdicts)) {
    const path = files.at(folder, `malformed/${name}.safetensors`)
    const judge = async (from: string | Uint8Array, accepted: boolean): Promise<Outcome> => {
      const way = typeof from === 'string' ? 'as a file' : 'from bytes'
      try {
        return await withWeights(from, async (weights) => {
          if (!accepted) return fail(`accepted ${way}, should be refused (${want.kind})`)
          for (const tensor of weights.names) await weights.read(tensor)
          return sameTensors(weights, want.tensors ?? {})
        })
      } catch (error) {
        if (!(error instanceof WeightsError)) throw error // refused by accident is no verdict
        return accepted ? fail(`refused ${way}: ${error.message}`) : pass
      }
    }
    const run = async () => {
      const fromBytes = await judge(await files.read(path), want.accepted)
      return fromBytes.status === 'pass'
        ? judge(path, want.accepted_when_opened_as_a_file ?? want.accepted)
        : fromBytes
    }
    yield { id: `${prefix}/${name}`, run }
  }
}

interface Models {
  [name: string]: { shards?: string[]; tensors?: Record<string, number[]>; dtype?: string }
}

const rounders = { f16: toF16, bf16: toBF16 } as const
const noLlama = 'the Llama family is not built yet'

async function* models(files: Files, folder: string, prefix: string): AsyncGenerator<GoldenCase> {
  const expectedPath = files.at(folder, 'models-expected.safetensors')
  const expected = await withWeights(expectedPath, async (weights) => weights.names)
  const described = await readJson<Models>(files, files.at(folder, 'models-expected.json'))
  for (const [name, { tensors, dtype }] of Object.entries(described)) {
    const path = files.at(folder, name)
    if (tensors) {
      const run = () =>
        withWeights(path, async (weights) => {
          const want = Object.entries(tensors).map(([n, shape]) => [n, { dtype: 'F32', shape }] as const)
          for (const tensor of weights.names) await weights.readF32(tensor)
          return sameTensors(weights, Object.fromEntries(want))
        })
      yield { id: `${prefix}/${name}/tensors`, run }
    } else if (dtype === 'f16' || dtype === 'bf16') {
      // the same weights rounded: also a test of the shards' values and of our own rounding
      const run = () =>
        withWeights(path, (weights) =>
          withWeights(files.at(folder, 'sharded'), async (full) => {
            for (const tensor of full.names) {
              const { data } = await weights.read(tensor)
              const outcome = exact(data, rounders[dtype](await full.readF32(tensor)), tensor)
              if (outcome.status === 'fail') return outcome
            }
            return pass
          }),
        )
      yield { id: `${prefix}/${name}/tensors`, run }
    }
    for (const key of expected.filter((k) => k.startsWith(`${name}.`))) {
      const tensor = key.slice(name.length + 1)
      const id = `${prefix}/${name}/${tensor}`
      if (tensor === 'logits') yield unsupported(id, noLlama)
      else {
        const run = () =>
          withWeights(path, (weights) =>
            withWeights(expectedPath, async (want) =>
              exact(await weights.readF32(tensor), await want.readF32(key), tensor),
            ),
          )
        yield { id, run }
      }
    }
  }
}

async function* gguf(files: Files, dir: string): AsyncGenerator<GoldenCase> {
  const reason = 'GGUF is not read yet'
  for (const [file, prefix] of [
    ['gguf-blocks.json', 'gguf-blocks'],
    ['gguf/expected.json', 'gguf'],
  ]) {
    if (!(await files.exists(files.at(dir, file)))) continue
    for (const name of Object.keys(await readJson<object>(files, files.at(dir, file)))) {
      yield unsupported(`${prefix}/${name}`, reason)
    }
  }
}

export async function* cases({ dir }: Collection, { files }: Options): AsyncGenerator<GoldenCase> {
  const folder = files.at(dir, 'safetensors')
  const has = (file: string) => files.exists(files.at(folder, file))
  if (await has('all-dtypes.json')) yield* allDTypes(files, folder, 'safetensors/all-dtypes')
  if (await has('malformed.json')) yield* malformed(files, folder, 'safetensors/malformed')
  if (await has('models-expected.json')) yield* models(files, folder, 'safetensors')
  yield* gguf(files, dir)
}
