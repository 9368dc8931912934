// What a report shows before anybody chooses: one rule for the static page and for its script.
import type { ExplainData } from './explain-data.js'

/** The heads table's first row and the first `[MASK]` or last token, unless the data says otherwise. */
export function initialSelection(data: ExplainData): { layer: number; head: number; token: number } {
  const first = data.headTable?.rows[0]
  return {
    layer: data.initial?.layer ?? first?.layer ?? 0,
    head: data.initial?.head ?? first?.head ?? 0,
    token: data.initial?.token ?? data.masked?.[0]?.position ?? data.tokens.length - 1,
  }
}
