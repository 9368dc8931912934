// The page: computes once and leaves the numbers, or the error, where the test finds them. With ?webgl it computes one attention
// on WebGL too, which is when TensorFlow.js is loaded, and not before.
import { compute, type Numbers } from './compute.js'
import { oneAttention } from './one-attention.js'

declare global {
  var outcome: { numbers: Numbers } | { error: string } | undefined
}

async function main(): Promise<Numbers> {
  if (!location.search.includes('webgl')) return compute()
  const { cpu, webgl } = await oneAttention(location.search)
  return { cpu, webgl }
}

main().then(
  (numbers) => {
    globalThis.outcome = { numbers }
  },
  (error: unknown) => {
    globalThis.outcome = {
      error: error instanceof Error ? `${error.message}\n${error.stack}` : String(error),
    }
  },
)
