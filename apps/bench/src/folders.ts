/** Where this app stands, whether it runs from source or from dist. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

function appFolder(): string {
  for (const up of ['..', '../..']) {
    const folder = fileURLToPath(new URL(up, import.meta.url))
    if (existsSync(`${folder}/peers/package.json`)) return folder.replace(/\/$/, '')
  }
  throw new Error('apps/bench is not where its code expects it')
}
export const app = appFolder()
export const peersFolder = `${app}/peers`
