/** Every peer: a file that speaks its language, a row here. */
import type { Maker } from '../work.js'
import { jax } from './jax.js'
import { ortNode, ortWeb } from './ort.js'
import { tfjsCpu, tfjsWasm } from './tfjs.js'
import { transformersNode, transformersWasm } from './transformers.js'

export interface Peer extends Maker {
  /** npm packages that must be installed in peers/. */
  readonly packages: readonly string[]
}
export const peers: readonly Peer[] = [
  ortWeb,
  tfjsWasm,
  tfjsCpu,
  jax,
  ortNode,
  transformersWasm,
  transformersNode,
]
