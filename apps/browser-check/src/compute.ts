// What is computed on both sides, in a page and in Node. It uses published entry points only, and nothing of Node.
import { cpu } from '@heed/backend-cpu'
import { compare, directLogitAttribution, rollout } from '@heed/interpret'
import { loadModel, modelFiles } from '@heed/models'
import { attention, gelu, grad, matmul, mul, setBackend, sub, sum, type Tensor, tensor } from '@heed/tensor'
import { openWeights, sha256, writeSafetensors } from '@heed/weights'

/** Name → values. */
export type Numbers = Record<string, number[]>

const wave = (shape: number[], phase: number): Tensor => {
  const size = shape.reduce((product, axis) => product * axis, 1)
  return tensor(
    Float32Array.from({ length: size }, (_, i) => Math.sin(phase + i * 0.7)),
    { shape },
  )
}
const values = async (x: Tensor): Promise<number[]> => Array.from((await x.data()) as Float32Array)

/** The WebAssembly kernels: matmul at an odd size, fused attention, and the gradient of both. */
async function backendCpu(): Promise<Numbers> {
  setBackend(await cpu())
  const [q, k, v] = [wave([2, 3, 11, 8], 0), wave([2, 3, 11, 8], 1), wave([2, 3, 11, 8], 2)]
  const { z } = attention(q, k, v, { causal: true }) // [batch, head, query, dHead]
  const y = gelu(matmul(z, wave([8, 13], 3)))
  const [dq, dk, dv] = grad(sum(mul(y, y)), [q, k, v]) as [Tensor, Tensor, Tensor]
  return {
    'attention/z': await values(z),
    'attention/y': await values(y),
    'attention/dq': await values(dq),
    'attention/dk': await values(dk),
    'attention/dv': await values(dv),
  }
}

async function weights(): Promise<Numbers> {
  const data = Float32Array.from({ length: 257 }, (_, i) => Math.sin(i) / 3)
  const bytes = writeSafetensors({ wave: { dtype: 'F32', shape: [257], data } })
  const opened = await openWeights(bytes)
  const read = await opened.read('wave')
  return {
    'weights/wave': Array.from(read.data as Float32Array),
    'weights/sha256': Array.from(await sha256(bytes), (letter) => Number.parseInt(letter, 16)),
  }
}

/** The built-in model, whose files the bundler has to find: a sentence, a pattern, an edit, a gradient, a method. */
async function builtInModel(): Promise<Numbers> {
  const text = 'When Mary and John went to the store, John gave a drink to'
  const model = await loadModel()
  const run = await model.run(text, { keep: ['blocks.*.attn.z'] })
  const [first, second] = run.top(2)
  if (!first || !second) throw new Error('the model predicts fewer than two tokens')
  const edited = await model.run(text, {
    edit: [{ at: 'blocks.1.attn.z', head: 3, op: 'scale', value: 0 }],
  })
  const margin = sub(run.logit(first.id), run.logit(second.id))
  const [dz] = grad(margin, [run.get('blocks.1.attn.z')]) as [Tensor]
  const attribution = await directLogitAttribution(run, { correct: first.id, wrong: second.id })
  const files = Object.entries(await modelFiles(model)).map(([name, content]): [string, Uint8Array] => [
    name,
    typeof content === 'string' ? new TextEncoder().encode(content) : content,
  ])
  const fromBytes = await (await loadModel(Object.fromEntries(files))).run(text)
  return {
    'model/ids': [...(run.ids[0] ?? [])],
    'model/logits': await values(run.output),
    'model/top': [first.id, second.id, first.probability, second.probability],
    'model/pattern': await values(run.get('blocks.1.attn.pattern')),
    'model/edited': await values(edited.output),
    'model/moved': compare(run, edited)
      .top(3)
      .map(({ change }) => change),
    'model/gradient': await values(dz),
    'model/attribution': attribution.heads.top(3).map(({ value }) => value),
    'model/rollout': await (await rollout(run)).row(),
    'model/loaded from its own files': await values(fromBytes.output),
  }
}

export async function compute(): Promise<Numbers> {
  return { ...(await weights()), ...(await backendCpu()), ...(await builtInModel()) }
}
