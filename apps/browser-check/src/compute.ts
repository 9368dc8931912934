// What is computed on both sides, in a page and in Node. It uses published entry points only, and nothing of Node.
import { cpu } from '@heed/backend-cpu'
import { attention, gelu, grad, matmul, mul, setBackend, sum, type Tensor, tensor } from '@heed/tensor'
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

export async function compute(): Promise<Numbers> {
  return { ...(await weights()), ...(await backendCpu()) }
}
