// What webpack bundles: the same program, started at once.
import { oneAttention } from './one-attention.js'

oneAttention(location.search).then(
  (numbers) => {
    globalThis.outcome = { numbers }
  },
  (error) => {
    globalThis.outcome = { error: String(error.stack ?? error) }
  },
)
