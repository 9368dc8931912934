// One attention with its gradient on the CPU and, if wanted, on WebGL: a program as it stands in somebody's page. It is plain
// JavaScript, so that Vite, webpack and a browser without any bundler can take the same file.
import { cpu } from '@heed/backend-cpu'
import { webgl } from '@heed/backend-webgl'
import { attention, grad, mul, realize, sum, tensor } from '@heed/tensor'

/** @param {number} phase */
const wave = (phase) =>
  tensor(
    Float32Array.from({ length: 2 * 3 * 40 * 16 }, (_, i) => Math.sin(phase + i * 0.7)),
    { shape: [2, 3, 40, 16] },
  )

/**
 * z, dq, dk and dv behind each other.
 * @param {import('@heed/tensor').Backend} backend
 */
async function numbersOn(backend) {
  const [q, k, v] = [wave(0), wave(1), wave(2)]
  const { z } = attention(q, k, v, { causal: true })
  const results = [z, ...grad(sum(mul(z, z)), [q, k, v])]
  await realize(results, { backend, strict: true })
  /** @type {number[]} */
  const all = []
  for (const x of results) all.push(...Array.from(await x.data(), Number))
  return all
}

/**
 * What the address of a page asks for: `?webgl`, `?threads=2`.
 * @param {string} search
 */
export async function oneAttention(search) {
  const threads = new URLSearchParams(search).get('threads')
  const host = await cpu(threads ? { threads: Number(threads) } : {})
  const numbers = await numbersOn(host)
  if (!search.includes('webgl')) return { threads: host.threads, cpu: numbers, webgl: [] }
  const gpu = await webgl()
  return { threads: host.threads, cpu: numbers, webgl: await numbersOn(gpu) }
}
