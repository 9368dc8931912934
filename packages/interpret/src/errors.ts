/** What can be wrong with a question to a run: an option, a tap that is missing, a method that is not defined here. */
import { HeedError } from '@heed/tensor'

/** An option, a token or a run that a method cannot work with. The message names it and the fix. */
export class InterpretError extends HeedError {
  static override readonly label: string = 'InterpretError'
}

/** The method has no meaning for this kind of model; it is said so, never approximated. */
export class NotDefinedError extends InterpretError {
  static override readonly label: string = 'NotDefinedError'
  constructor(
    /** The method that was asked for. */
    readonly method: string,
    /** Why it is not defined, without the method's name. */
    readonly reason: string,
  ) {
    super(`${method}: not defined: ${reason}`)
  }
}

/** Throws for the first option that is not among `known`. */
export function checkOptions(what: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null)
    throw new InterpretError(
      `${what}: options are ${typeof options}, expected an object with ${known.join(', ')}`,
    )
  for (const name of Object.keys(options))
    if (!known.includes(name))
      throw new InterpretError(`${what}: option '${name}' is unknown; options are ${known.join(', ')}`)
}

/** A whole number of at least `least`. */
export function checkCount(what: string, name: string, value: number, least = 1): void {
  if (!Number.isInteger(value) || value < least)
    throw new InterpretError(`${what}: ${name} is ${value}, expected a whole number of at least ${least}`)
}

/** An index into `size` things, negative from the end, as one from 0. */
export function indexOf(what: string, name: string, index: number, size: number): number {
  const i = index < 0 ? index + size : index
  if (!Number.isInteger(i) || i < 0 || i >= size)
    throw new InterpretError(`${what}: ${name} ${index} of ${size}; they run from 0 to ${size - 1}`)
  return i
}
