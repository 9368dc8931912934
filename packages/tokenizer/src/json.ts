/**
 * Reading fields out of parsed JSON with an error that names the path. It refuses to be a schema language: unknown fields
 * of a file are left alone, because newer writers add fields that mean nothing to older readers.
 */
import { TokenizerFormatError } from './errors.js'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }
export type JsonObject = { [key: string]: Json }

const kind = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value

/** One object of the file and the path it stands at. */
export class Fields {
  constructor(
    readonly value: JsonObject,
    readonly path: string,
  ) {}

  static of(value: Json | undefined, path: string): Fields {
    if (kind(value) !== 'object')
      throw new TokenizerFormatError(path, `expected an object, found ${kind(value)}`)
    return new Fields(value as JsonObject, path)
  }

  has(key: string): boolean {
    return this.value[key] !== undefined && this.value[key] !== null
  }

  get(key: string): Json {
    const value = this.value[key]
    if (value === undefined) throw new TokenizerFormatError(this.path, `field "${key}" is missing`)
    return value
  }

  at(key: string): string {
    return `${this.path}.${key}`
  }

  private typed<T>(key: string, type: string, fallback: T | undefined): T {
    const value = this.value[key]
    if ((value === undefined || value === null) && fallback !== undefined) return fallback
    if (kind(this.get(key)) !== type)
      throw new TokenizerFormatError(this.at(key), `expected ${type}, found ${kind(value)}`)
    return value as T
  }

  string(key: string, fallback?: string): string {
    return this.typed(key, 'string', fallback)
  }

  boolean(key: string, fallback?: boolean): boolean {
    return this.typed(key, 'boolean', fallback)
  }

  /** A whole number of at least 0. */
  count(key: string, fallback?: number): number {
    const value = this.typed<number>(key, 'number', fallback)
    if (!Number.isInteger(value) || value < 0)
      throw new TokenizerFormatError(this.at(key), `expected a whole number of at least 0, found ${value}`)
    return value
  }

  array(key: string, fallback?: Json[]): Json[] {
    return this.typed(key, 'array', fallback)
  }

  object(key: string): Fields {
    return Fields.of(this.get(key), this.at(key))
  }
}

/** Throws for the first option that is not in the list, so that a misspelt one is never ignored. */
export function checkOptions(call: string, options: object, known: readonly string[]): void {
  for (const key of Object.keys(options))
    if (!known.includes(key))
      throw new TypeError(`${call}: unknown option "${key}"; known are ${known.join(', ')}`)
}
