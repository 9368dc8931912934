// Reads the imports of a TypeScript module with a real parser. It resolves nothing: a specifier is given as written.
import { parseSync } from 'vite'

export interface ImportSite {
  specifier: string
  /** `type`: erased when compiled; `dynamic`: `import()`; `value`: the rest, re-exports included. */
  kind: 'type' | 'dynamic' | 'value'
  line: number
}

interface SyntaxNode {
  type: string
  start: number
  [key: string]: unknown
}

const isNode = (value: unknown): value is SyntaxNode =>
  typeof value === 'object' && value !== null && typeof (value as SyntaxNode).type === 'string'

/** Every import, re-export, `import()` with a literal, and `import('…')` type of a module. Throws on a syntax error. */
export function importsOf(file: string, text: string): ImportSite[] {
  const { program, errors } = parseSync(file, text, { lang: file.endsWith('.tsx') ? 'tsx' : 'ts' })
  if (errors.length) throw new SyntaxError(`${file}: ${errors[0]?.message}`)
  const sites: ImportSite[] = []
  const add = (source: unknown, kind: ImportSite['kind'], at: SyntaxNode) => {
    if (isNode(source) && source.type === 'Literal' && typeof source.value === 'string')
      sites.push({ specifier: source.value, kind, line: text.slice(0, at.start).split('\n').length })
  }
  const visit = (node: SyntaxNode): void => {
    if (node.type === 'ImportDeclaration' || node.type === 'ExportNamedDeclaration') {
      const specifiers = (node.specifiers ?? []) as SyntaxNode[]
      const kindKey = node.type === 'ImportDeclaration' ? 'importKind' : 'exportKind'
      // `import {} from` and `import 'x'` run the module; only when all names are types nothing is left
      const erased =
        node[kindKey] === 'type' || (specifiers.length > 0 && specifiers.every((s) => s[kindKey] === 'type'))
      add(node.source, erased ? 'type' : 'value', node)
    } else if (node.type === 'ExportAllDeclaration')
      add(node.source, node.exportKind === 'type' ? 'type' : 'value', node)
    else if (node.type === 'ImportExpression') add(node.source, 'dynamic', node)
    else if (node.type === 'TSImportType') add(node.argument ?? node.source, 'type', node)
    for (const value of Object.values(node)) {
      if (Array.isArray(value)) value.filter(isNode).forEach(visit)
      else if (isNode(value)) visit(value)
    }
  }
  visit(program as unknown as SyntaxNode)
  return sites
}
