// Makes the backend that --backend names. One per run: every adapter asks here.
import { type Backend, reference } from '@heed/tensor'
import { cpuOptions } from './arguments.js'

/** A backend whose name arguments.ts accepts. */
export async function openBackend(name: string): Promise<Backend> {
  if (name === 'reference') return reference()
  if (name === 'reference-f64') return reference({ precision: 'f64' })
  const options = cpuOptions(name)
  if (options) return (await import('@heed/backend-cpu')).cpu(options)
  throw new Error(`no backend is called '${name}'`)
}
