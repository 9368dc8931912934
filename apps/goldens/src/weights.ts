// Placeholder for the adapter of the format 'weights': lists the collection and runs nothing.
import { basename } from 'node:path'
import { type Collection, type GoldenCase, type Options, unsupported, wholeCollection } from './case.js'

export async function* cases(collection: Collection, _options: Options): AsyncGenerator<GoldenCase> {
  yield unsupported(wholeCollection, `no adapter for the real weights '${basename(collection.dir)}' yet`)
}
