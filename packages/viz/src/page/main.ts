// Brings a report to life: reads the data that lies in the page, makes the store, hands both to the views. The page
// works without this file; with it, every head and token can be chosen.
import type { ExplainData } from '../explain-data.js'
import { initialSelection } from '../initial.js'
import { atlasView } from './atlas-view.js'
import { readPalette } from './canvas.js'
import { controls } from './controls.js'
import { headCanvas } from './head-canvas.js'
import { openHeads } from './heads.js'
import { createStore } from './store.js'
import { lensView, lookTables } from './tables.js'
import { textView } from './text-view.js'

const data = JSON.parse(document.getElementById('heed-data')?.textContent ?? 'null') as ExplainData
const heads = openHeads(data)
document.documentElement.classList.add('js')

const store = createStore({
  ...initialSelection(data),
  hover: null,
  hideSinks: (heads?.sinks.size ?? 0) > 0,
  rowScale: false,
  source: heads || !data.attributions?.length ? 'from' : 0,
  mode: 'lines',
  look: 0,
})

let palette = readPalette()
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  palette = readPalette()
  store.set({ look: store.state.look + 1 })
})

let focusHead = (): void => {}
controls(store, heads, data, () => focusHead())
textView(store, heads, data)
if (heads) {
  focusHead = headCanvas(store, heads, data, () => palette)
  atlasView(
    store,
    heads,
    () => palette,
    () => focusHead(),
  )
  lookTables(store, heads, data)
}
lensView(store, data)
