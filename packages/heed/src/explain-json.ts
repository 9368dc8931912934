/** What `--json` prints: the explanation without the page's packed patterns. Fields: docs/explain-json.md. */
import type { Explanation } from './explain.js'

export function explanationJson(data: Explanation): Readonly<Record<string, unknown>> {
  const { patterns: _packed, initial: _opensWith, ...rest } = data
  return rest
}
