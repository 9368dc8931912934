// Adapter of the real weights: all-MiniLM-L6-v2 as sentence vectors, attention and hidden states of real sentences. The
// weights are not in the repository: they lie where the collection's fetch script puts them.
import { loadModel, sentenceVector, type TextModel, type TextRun } from '@heed/models'
import { setBackend, type Tensor } from '@heed/tensor'
import { openWeights, type Weights } from '@heed/weights'
import {
  type Collection,
  compare,
  type GoldenCase,
  type Options,
  type Outcome,
  outcome,
  unsupported,
  wholeCollection,
} from './case.js'
import { readJson } from './files.js'

// of the collection's README
const tolerance = { embeddings: 1e-5, attentions: 1e-5, hidden: 1e-4 }

interface Expected {
  sentences: { text: string; ids: number[]; tokens: string[] | null }[]
  /** Sentences with hidden states and attentions. */
  detail: number[]
  /** Tokens that are read of a sentence. */
  max_length: number
}

async function ids(
  model: TextModel,
  sentence: Expected['sentences'][number],
  maxLength: number,
): Promise<Outcome> {
  const got = model.tokenizer?.encode(sentence.text, { padding: false, truncation: { maxLength } })
  if (!got) return { status: 'fail', reason: 'the folder has no tokenizer.json' }
  const same = sentence.tokens === null || JSON.stringify(got.tokens) === JSON.stringify(sentence.tokens)
  if (!same) return { status: 'fail', reason: `tokens are ${got.tokens.join(' ')}` }
  return outcome([compare(got.ids, sentence.ids, { atol: 0 }, { label: 'ids' })])
}

/** Cosines of rows of unit length, [n, n]. */
function cosines(rows: Float32Array, n: number): Float32Array {
  const width = rows.length / n
  return Float32Array.from({ length: n * n }, (_, at) => {
    const [a, b] = [Math.floor(at / n) * width, (at % n) * width]
    let dot = 0
    for (let i = 0; i < width; i++) dot += rows[a + i] * rows[b + i]
    return dot
  })
}

export async function* cases({ dir }: Collection, options: Options): AsyncGenerator<GoldenCase> {
  const { files } = options
  const name = files.nameOf(dir)
  if (name !== 'minilm') {
    yield unsupported(wholeCollection, `no adapter for the real weights '${name}' yet`)
    return
  }
  const folder = files.at(options.weights, name)
  if (!(await files.exists(folder))) {
    yield unsupported(
      wholeCollection,
      `the weights are not in ~/.cache/heed-weights, nor in $HEED_WEIGHTS: bash fetch.sh ${name}, beside this folder`,
    )
    return
  }
  const expected = await readJson<Expected>(files, files.at(dir, 'expected.json'))
  const tensors: Weights = await openWeights(files.at(dir, 'expected.safetensors'))
  // the model runs on the backend that is set; without one loadModel would choose
  setBackend(await options.backend())
  let loaded: Promise<TextModel> | undefined
  const model = (): Promise<TextModel> => {
    loaded ??= loadModel(folder)
    return loaded
  }
  const runs = new Map<number, Promise<TextRun>>()
  const run = (i: number): Promise<TextRun> => {
    let made = runs.get(i)
    made ??= model().then((m) =>
      m.run({ ids: expected.sentences[i].ids }, { keep: ['blocks.*.resid_pre', 'blocks.*.ln2'] }),
    )
    runs.set(i, made)
    return made
  }
  const values = async (x: Tensor): Promise<Float32Array> => (await x.data()) as Float32Array
  const { sentences } = expected
  const count = sentences.length
  /** One text at a time: nothing is padded. */
  const vectors = async (): Promise<Float32Array> => {
    const rows: number[] = []
    for (let i = 0; i < count; i++) rows.push(...(await values(sentenceVector(await run(i)))))
    return Float32Array.from(rows)
  }
  try {
    for (const [i, sentence] of sentences.entries())
      yield { id: `${i}/ids`, run: async () => ids(await model(), sentence, expected.max_length) }
    yield {
      id: 'embeddings',
      run: async () =>
        outcome([
          compare(await vectors(), await tensors.readF32('embeddings'), { atol: tolerance.embeddings }),
        ]),
    }
    yield {
      id: 'embeddings-in-batches',
      run: async () => {
        const got = await values(
          await (await model()).embed(
            sentences.map((s) => s.text),
            { truncate: true },
          ),
        )
        return outcome([compare(got, await tensors.readF32('embeddings'), { atol: tolerance.embeddings })])
      },
    }
    yield {
      id: 'cosine',
      run: async () =>
        outcome([
          compare(cosines(await vectors(), count), await tensors.readF32('cosine'), {
            atol: tolerance.embeddings,
          }),
        ]),
    }
    for (const i of expected.detail) {
      const layered = async (
        name: string,
        layers: number,
        one: (r: TextRun, layer: number) => Tensor,
        atol: number,
      ) => {
        const want = await tensors.readF32(`${i}.${name}`)
        const size = want.length / layers
        const got = await run(i)
        const compared = []
        for (let l = 0; l < layers; l++)
          compared.push(
            compare(
              await values(one(got, l)),
              want.subarray(l * size, (l + 1) * size),
              { atol },
              { label: `layer ${l}` },
            ),
          )
        return outcome(compared)
      }
      const shape = tensors.info(`${i}.hidden_states`).shape
      yield {
        id: `${i}/hidden_states`,
        run: () =>
          layered(
            'hidden_states',
            shape[0],
            (r, l) => (l === 0 ? r.get('blocks.0.resid_pre') : r.get(`blocks.${l - 1}.ln2`)),
            tolerance.hidden,
          ),
      }
      yield {
        id: `${i}/attentions`,
        run: () =>
          layered(
            'attentions',
            shape[0] - 1,
            (r, l) => r.get(`blocks.${l}.attn.pattern`),
            tolerance.attentions,
          ),
      }
    }
  } finally {
    await tensors.close()
  }
}
