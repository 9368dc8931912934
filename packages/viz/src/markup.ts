// A tree of elements that becomes either text (escaped, for files) or live nodes (text nodes only, in the page).
// It has no components, no diffing and no way to write raw markup, so nothing can be injected through it.
import { escapeHtml } from './escape.js'

export interface Mark {
  tag: string
  attributes: Record<string, string>
  children: (Mark | string)[]
}

export type Child = Mark | string | number | null | undefined | false | Child[]

/** An element. Attributes that are null or false are left out, true is an empty attribute. Names are the code's own. */
export function h(
  tag: string,
  attributes: Record<string, string | number | boolean | null | undefined> = {},
  ...children: Child[]
): Mark {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(attributes))
    if (value !== null && value !== undefined && value !== false)
      kept[name] = value === true ? '' : String(value)
  const flat = (list: Child[]): (Mark | string)[] =>
    list.flatMap((c) =>
      Array.isArray(c)
        ? flat(c)
        : c === null || c === undefined || c === false
          ? []
          : [typeof c === 'number' ? String(c) : c],
    )
  return { tag, attributes: kept, children: flat(children) }
}

const voids = new Set(['br', 'col', 'hr', 'input', 'link', 'meta', 'wbr'])

/** The tree as HTML or SVG text. */
export function toHtml(mark: Mark | string): string {
  if (typeof mark === 'string') return escapeHtml(mark)
  const attributes = Object.entries(mark.attributes)
    .map(([name, value]) => ` ${name}="${escapeHtml(value)}"`)
    .join('')
  if (voids.has(mark.tag)) return `<${mark.tag}${attributes}>`
  return `<${mark.tag}${attributes}>${mark.children.map(toHtml).join('')}</${mark.tag}>`
}

/** The tree as live nodes. */
export function toDom(mark: Mark | string, inSvg = false): Node {
  if (typeof mark === 'string') return document.createTextNode(mark)
  const svg = inSvg || mark.tag === 'svg'
  const node = svg
    ? document.createElementNS('http://www.w3.org/2000/svg', mark.tag)
    : document.createElement(mark.tag)
  for (const [name, value] of Object.entries(mark.attributes)) node.setAttribute(name, value)
  for (const child of mark.children) node.append(toDom(child, svg))
  return node
}
