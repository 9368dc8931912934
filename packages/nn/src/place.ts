/**
 * Where parts stand: each remembers the module that took it first and the key it has there, so that a parameter can
 * say its path from the root. The path seeds its initial values; nothing else depends on it.
 */
import { type HasParts, hasParts, PARTS, Tensor } from '@heed/tensor'

const places = new WeakMap<object, { readonly parent: HasParts; readonly key: string }>()

/** Notes that the parts of a new module stand in it. A part that stands somewhere already stays there (ties). */
export function placed(module: HasParts): void {
  const note = (part: unknown, key: string): void => {
    if (part instanceof Tensor || hasParts(part)) {
      if (!places.has(part)) places.set(part, { parent: module, key })
    } else if (Array.isArray(part)) part.forEach((p, i) => note(p, `${key}.${i}`))
    else if (typeof part === 'object' && part !== null && Object.getPrototypeOf(part) === Object.prototype)
      for (const [k, p] of Object.entries(part)) note(p, `${key}.${k}`)
  }
  for (const [key, part] of Object.entries(module[PARTS])) note(part, key)
}

/** The path from the root, such as `blocks.3.attn.w_q`; empty for a tensor outside any module. */
export function placeOf(part: object): string {
  const keys: string[] = []
  for (let at = places.get(part); at; at = places.get(at.parent)) keys.unshift(at.key)
  return keys.join('.')
}
