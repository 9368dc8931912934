/** What can be wrong with a model folder, an input or an option. One line each: file or option, what it is, what to do. */
import { HeedError } from '@heed/tensor'

const oneLine = (text: string): string => text.replace(/[\r\n]+/g, ' ')

/** A folder that is no model, or one of a kind that is not supported. Names the file. */
export class ModelError extends HeedError {
  static override readonly label: string = 'ModelError'
  constructor(
    /** File or folder. */
    readonly file: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(oneLine(`${file}: ${message}`), options)
  }
}
/** A config.json whose keys are missing, wrong or mean a computation that is not supported. */
export class ConfigError extends ModelError {
  static override readonly label: string = 'ConfigError'
}
/** A text or ids that the model cannot take: too long, empty, out of the vocabulary. */
export class InputError extends HeedError {
  static override readonly label: string = 'InputError'
  constructor(message: string) {
    super(oneLine(message))
  }
}
/** An option that does not exist or has an impossible value. */
export class OptionError extends HeedError {
  static override readonly label: string = 'OptionError'
  constructor(message: string) {
    super(oneLine(message))
  }
}

/** Refuses options that nobody reads. */
export function checkOptions(where: string, options: object, known: readonly string[]): void {
  for (const name of Object.keys(options))
    if (!known.includes(name))
      throw new OptionError(`${where}: option '${name}' is unknown; options are ${known.join(', ')}`)
}
