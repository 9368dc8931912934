// Patterns of --only and of the tolerance table: * is any run of characters (slashes too), ? any one. Nothing else is
// special, since case ids hold brackets, commas, braces and dots.

/** A predicate for whole strings. */
export function matcher(pattern: string): (text: string) => boolean {
  const escaped = pattern.replace(/[\\^$.|+()[\]{}]/g, '\\$&')
  const expression = new RegExp(`^${escaped.replace(/\*/g, '.*').replace(/\?/g, '.')}$`, 'su')
  return (text) => expression.test(text)
}
