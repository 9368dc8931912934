// The server behind the page, without a page: what it gives, and what it keeps to itself.
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Served, serve } from './serve.js'

let root = ''
let server: Served
let shared = ''
beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'heed-serve-')))
  for (const folder of ['page', 'a b#', 'a b#/inner', 'a b#2']) await mkdir(join(root, folder))
  await writeFile(join(root, 'page/index.html'), '<p>')
  await writeFile(join(root, 'a b#/data'), '0123456789')
  await writeFile(join(root, 'a b#/empty'), '')
  await writeFile(join(root, 'secret'), 'secret')
  await writeFile(join(root, 'a b#2/secret'), 'secret')
  server = await serve(join(root, 'page'))
  shared = server.share(join(root, 'a b#'))
})
afterAll(async () => {
  server.close()
  await rm(root, { recursive: true })
})
/** As it is written: `fetch` would take dots out of the path. */
const get = (url: string, headers: Record<string, string> = {}, method = 'GET') =>
  new Promise<{ status: number | undefined; text: string; type: string | undefined }>((ready, fail) => {
    const { port } = new URL(server.url)
    const asked = request(
      { host: '127.0.0.1', port, path: url.replace(server.url, ''), headers, method },
      (answer) => {
        let text = ''
        answer.on('data', (part: Buffer) => {
          text += part.toString()
        })
        answer.on('end', () =>
          ready({ status: answer.statusCode, text, type: answer.headers['content-type'] }),
        )
      },
    )
    asked.once('error', fail).end()
  })

describe('the server of the goldens', () => {
  it('gives the page, files whole or in part, and lists folders', async () => {
    expect(await get(server.url)).toEqual({ status: 200, text: '<p>', type: 'text/html' })
    expect(shared).toMatch(/\/files\/0\/a%20b%23$/)
    expect(await get(`${shared}/data`)).toMatchObject({ status: 200, text: '0123456789' })
    expect(await get(`${shared}/data`, {}, 'HEAD')).toMatchObject({ status: 200, text: '' })
    expect(JSON.parse((await get(`${shared}?list`)).text)).toEqual([
      { name: 'data', isFolder: false },
      { name: 'empty', isFolder: false },
      { name: 'inner', isFolder: true },
    ])
  })
  it.each([
    ['0-3', 206, '0123'],
    ['8-99', 206, '89'],
    ['9-9', 206, '9'],
    ['10-12', 416, ''],
    ['5-4', 416, ''],
  ])('bytes %s', async (range, status, text) => {
    expect(await get(`${shared}/data`, { range: `bytes=${range}` })).toMatchObject({ status, text })
  })
  it('says 404 of what is not there, HEAD too', async () => {
    for (const method of ['GET', 'HEAD'])
      for (const path of ['/none', '/files/7/x/data', `${shared}/none`])
        expect(await get(path, {}, method), `${method} ${path}`).toMatchObject({ status: 404, text: '' })
  })
  it('gives nothing that lies outside of what is shared', async () => {
    for (const up of ['..', '%2e%2e', '..%2f..', '%2e%2e%2fa%20b%232'])
      for (const base of [shared, ''])
        expect(await get(`${base}/${up}/secret`), `${base}/${up}`).toMatchObject({ status: 404, text: '' })
    for (const list of [`${shared}/%2e%2e%2f?list`, '/%2e%2e%2f?list'])
      expect(await get(list), list).toMatchObject({ status: 404, text: '' })
  })
})
