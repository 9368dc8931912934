// The conformance cases on WebGL, inside a page; scripts/matrix.ts reads what they gave.
import { webgl } from '@heed/backend-webgl'
import { type ConformanceResult, runConformance } from '@heed/conformance'

declare global {
  var conformance: { results?: ConformanceResult[]; renderer?: string; error?: string } | undefined
}

async function main(): Promise<void> {
  const backend = await webgl()
  globalThis.conformance = { results: await runConformance(backend), renderer: backend.renderer }
}
main().catch((error: unknown) => {
  globalThis.conformance = { error: error instanceof Error ? error.message : String(error) }
})
