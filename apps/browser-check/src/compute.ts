// What is computed on both sides, in a page and in Node. It uses published entry points only, and nothing of Node.
import { openWeights, sha256, writeSafetensors } from '@heed/weights'

/** Name → values. */
export type Numbers = Record<string, number[]>

async function weights(): Promise<Numbers> {
  const data = Float32Array.from({ length: 257 }, (_, i) => Math.fround(Math.sin(i) / 3))
  const bytes = writeSafetensors({ wave: { dtype: 'F32', shape: [257], data } })
  const opened = await openWeights(bytes)
  const read = await opened.read('wave')
  return {
    'weights/wave': Array.from(read.data as Float32Array),
    'weights/sha256': Array.from(await sha256(bytes), (letter) => Number.parseInt(letter, 16)),
  }
}

export async function compute(): Promise<Numbers> {
  return { ...(await weights()) }
}
