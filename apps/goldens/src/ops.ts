// Placeholder for the adapter of the format 'ops': lists the collection and runs nothing.
import { type Collection, type GoldenCase, type Options, unsupported, wholeCollection } from './case.js'

export async function* cases(_collection: Collection, _options: Options): AsyncGenerator<GoldenCase> {
  yield unsupported(wholeCollection, "the adapter of the format 'ops' is not written yet")
}
