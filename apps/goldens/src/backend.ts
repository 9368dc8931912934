// Makes the backend that --backend names. One per run: every adapter asks here.
import { type Backend, reference } from '@heed/tensor'

/** A backend whose name is in `backends` of arguments.ts. */
export async function openBackend(name: string): Promise<Backend> {
  if (name === 'reference') return reference()
  if (name === 'reference-f64') return reference({ precision: 'f64' })
  if (name === 'cpu') return (await import('@heed/backend-cpu')).cpu()
  throw new Error(`no backend is called '${name}'`)
}
