// Makes the backend that --backend names.
import { type Backend, primitiveNames, reference } from '@heed/tensor'
import { cpuOptions } from './arguments.js'

/** A backend whose name arguments.ts accepts. */
export async function openBackend(name: string): Promise<Backend> {
  if (name === 'reference') return reference()
  if (name === 'reference-f64') return reference({ precision: 'f64' })
  if (name === 'webgl') return wholly(await (await import('@heed/backend-webgl')).webgl())
  const options = cpuOptions(name)
  if (options) return (await import('@heed/backend-cpu')).cpu(options)
  throw new Error(`no backend is called '${name}'`)
}

const primitives: ReadonlySet<string> = new Set(primitiveNames)

/** The same backend, where a primitive that it refuses fails the case: results of the reference kernels would say nothing of it. */
export function wholly<B extends Backend>(backend: B): B {
  const supports: Backend['supports'] = (node) => {
    const verdict = backend.supports(node)
    if (verdict !== true && primitives.has(node.op))
      throw new Error(`${backend.name} refuses ${node.op}: ${verdict}`)
    return verdict
  }
  return Object.assign(Object.create(backend) as B, { supports })
}
