/** What modules ask of their options beside their names, which `checkOptions` of tensor checks. */
import { ValueError } from '@heed/tensor'

/** Throws unless each of these options is a positive whole number. */
export function checkSizes(what: string, sizes: Readonly<Record<string, unknown>>): void {
  for (const [name, size] of Object.entries(sizes))
    if (!(Number.isInteger(size) && (size as number) > 0))
      throw new ValueError(`${what}: ${name} is ${size}, expected a positive whole number`)
}
