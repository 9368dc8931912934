/** `--backend`: by name, or an error; nothing else is tried. */
import { cpu } from '@heed/backend-cpu'
import { reference, setBackend } from '@heed/tensor'
import { UsageError } from './errors.js'

export const backendNames = ['cpu', 'reference', 'reference-f64'] as const

export async function useBackend(name = 'cpu'): Promise<void> {
  if (name === 'cpu') setBackend(await cpu())
  else if (name === 'reference') setBackend(reference())
  else if (name === 'reference-f64') setBackend(reference({ precision: 'f64' }))
  else throw new UsageError(`--backend '${name}' is unknown; use ${backendNames.join(', ')}`)
}
