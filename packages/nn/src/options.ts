/** Options are checked by name: one that nobody knows is a typo, not a wish. */
import { ValueError } from '@heed/tensor'

/** Throws for the first option that is not among `known`. */
export function checkOptions(what: string, options: object, known: readonly string[]): void {
  for (const name of Object.keys(options))
    if (!known.includes(name))
      throw new ValueError(`${what}: option '${name}' is unknown; use one of ${known.join(', ')}`)
}
/** Throws unless each of these options is a positive whole number. */
export function checkSizes(what: string, sizes: Readonly<Record<string, unknown>>): void {
  for (const [name, size] of Object.entries(sizes))
    if (!(Number.isInteger(size) && (size as number) > 0))
      throw new ValueError(`${what}: ${name} is ${size}, expected a positive whole number`)
}
