/**
 * What can go wrong, as classes to catch. Every message names the place (a JSON path of the file, an option, a file)
 * and the way out. It refuses to be a logger: nothing is reported twice or swallowed.
 */

/** Anything that this package throws on purpose. */
export class TokenizerError extends Error {
  override name = 'TokenizerError'
}

/** A file that is not a tokenizer.json, or a field in it that has the wrong kind. `path` is the JSON path, `$` the root. */
export class TokenizerFormatError extends TokenizerError {
  override name = 'TokenizerFormatError'
  constructor(
    readonly path: string,
    message: string,
  ) {
    super(`tokenizer.json ${path}: ${message}`)
  }
}

/** A component of a valid file that this version cannot run. `component` is its name, `path` where it stands. */
export class UnsupportedComponentError extends TokenizerError {
  override name = 'UnsupportedComponentError'
  constructor(
    readonly component: string,
    readonly path: string,
    why = 'is not supported yet',
  ) {
    super(`tokenizer.json ${path}: ${component} ${why}`)
  }
}
