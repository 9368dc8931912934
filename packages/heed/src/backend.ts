/** `--backend`: by name, or an error; nothing else is tried. */
import { cpu } from '@heed/backend-cpu'
import { reference, setBackend } from '@heed/tensor'
import { UsageError } from './errors.js'

export const backendNames = ['cpu', 'reference', 'reference-f64'] as const
export type BackendName = (typeof backendNames)[number]

/** @throws UsageError for a name that is none of `backendNames`. */
export function checkBackend(name = 'cpu'): BackendName {
  const found = backendNames.find((b) => b === name)
  if (!found) {
    const inPages = name === 'webgl' ? ' (there is WebGL in a page only: see @heed/backend-webgl)' : ''
    throw new UsageError(`--backend '${name}' is unknown; use ${backendNames.join(', ')}${inPages}`)
  }
  return found
}

export async function useBackend(name: BackendName): Promise<void> {
  if (name === 'cpu') setBackend(await cpu())
  else setBackend(reference({ precision: name === 'reference-f64' ? 'f64' : 'f32' }))
}
