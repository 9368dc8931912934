// The page: computes once and leaves the numbers, or the error, where the test finds them.
import { compute, type Numbers } from './compute.js'

declare global {
  var outcome: { numbers: Numbers } | { error: string } | undefined
}

compute().then(
  (numbers) => {
    globalThis.outcome = { numbers }
  },
  (error: unknown) => {
    globalThis.outcome = {
      error: error instanceof Error ? `${error.message}\n${error.stack}` : String(error),
    }
  },
)
