/** A backend under another identity: its kernels and memory, with plans of its own. */
import type { Backend, GraphNode } from '@heed/tensor'

export function guise(
  backend: Backend,
  supports: (node: GraphNode) => true | string = (node) => backend.supports(node),
): Backend {
  return {
    spec: 1,
    name: backend.name,
    precision: backend.precision,
    limits: backend.limits,
    supports,
    compile: (graph) => backend.compile(graph),
    upload: (data, shape, dtype) => backend.upload(data, shape, dtype),
    download: (buffer) => backend.download(buffer),
    free: (buffer) => backend.free(buffer),
    get bytesInUse() {
      return backend.bytesInUse
    },
    // the owner of the memory disposes
    dispose() {},
  }
}
