// The heads of the report with what every view asks about them, remembered per head: scale limit and sink share.
import type { ExplainData } from '../explain-data.js'
import { sinkPositions } from '../explain-data.js'
import { type HeadRows, headLimit, headRows, sinkShare } from '../head-rows.js'
import { type OpenedPatterns, openPatterns } from '../patterns.js'

export interface Head {
  rows: HeadRows
  /** Upper end of the colour scale with and without sinks. */
  limit(hideSinks: boolean): number
  sinkShare: number
}

export interface Heads {
  patterns: OpenedPatterns
  sinks: ReadonlySet<number>
  get(layer: number, head: number): Head
  /** Sinks to leave out under this setting. */
  hidden(hideSinks: boolean): ReadonlySet<number>
}

const nothing: ReadonlySet<number> = new Set()

export function openHeads(data: ExplainData): Heads | null {
  if (!data.patterns) return null
  const patterns = openPatterns(data.patterns)
  const sinks = new Set(sinkPositions(data.tokens))
  const known = new Map<number, Head>()
  return {
    patterns,
    sinks,
    hidden: (hideSinks) => (hideSinks ? sinks : nothing),
    get(layer, head) {
      const key = layer * patterns.heads + head
      const hit = known.get(key)
      if (hit) return hit
      const rows = headRows(patterns, layer, head)
      const [all, without] = [headLimit(rows, nothing), headLimit(rows, sinks)]
      const made: Head = {
        rows,
        limit: (hideSinks) => (hideSinks ? without : all),
        sinkShare: sinkShare(rows, sinks),
      }
      known.set(key, made)
      return made
    },
  }
}
